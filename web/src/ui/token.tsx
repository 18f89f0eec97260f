import { useState } from "preact/hooks";
import { setToken, token } from "../net/api";
import { useStore } from "./store";

/** Where a token is typed in. It is kept until the tab is closed, and never becomes part of an address. */
export function TokenBox({ why }: { why: string }) {
  const current = useStore(token);
  const [typed, type] = useState("");
  return (
    <form
      class="token-box panel"
      onSubmit={(event) => {
        event.preventDefault();
        setToken(typed.trim());
        type("");
      }}
    >
      <p>{why}</p>
      <label>
        Token{" "}
        <input
          type="password"
          autoComplete="off"
          value={typed}
          placeholder={current ? "a token is set" : ""}
          onInput={(event) => type(event.currentTarget.value)}
        />
      </label>
      <button type="submit" disabled={!typed.trim()}>
        Use it
      </button>
      {current && (
        <button type="button" onClick={() => setToken("")}>
          Forget it
        </button>
      )}
      <p class="muted">It is kept in this tab only, until the tab is closed.</p>
    </form>
  );
}
