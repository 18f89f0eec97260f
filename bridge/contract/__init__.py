"""The contract with readers in forms that machines read: JSON Schema and AsyncAPI, made of the model."""
