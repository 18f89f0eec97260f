import { setToken, token } from "../net/api";
import { useStore } from "./store";

/** Where a token is typed in. It is kept until the tab is closed, and never becomes part of an address. */
export function TokenBox({ why }: { why: string }) {
  const current = useStore(token);
  return (
    <form
      class="token-box panel"
      onSubmit={(event) => {
        event.preventDefault();
        const form = event.currentTarget;
        const typed = String(new FormData(form).get("token")).trim();
        if (!typed) return;
        form.reset();
        setToken(typed);
      }}
    >
      <p>{why}</p>
      <label>
        Token{" "}
        <input
          type="password"
          name="token"
          required
          autoComplete="off"
          placeholder={current ? "a token is set" : ""}
        />
      </label>
      <button type="submit">Use it</button>
      {current && (
        <button type="button" onClick={() => setToken("")}>
          Forget it
        </button>
      )}
      <p class="muted">It is kept in this tab only, until the tab is closed.</p>
    </form>
  );
}
