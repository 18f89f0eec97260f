import { useEffect, useRef } from "preact/hooks";

const KEYS: readonly (readonly [keys: string, does: string])[] = [
  ["g s", "Streams"],
  ["g p", "Pair"],
  ["g a", "Account"],
  ["g e", "Entries"],
  ["g r", "Rejects"],
  ["g f", "Faults, with a simulator"],
  ["/", "Filter, or choose"],
  ["j  k", "Next, previous"],
  ["Enter", "Open the chosen row"],
  ["n", "Streams: only those that are not live"],
  ["t", "Dark or light"],
  ["?", "This list"],
  ["Esc", "Leave a field, close this list"],
];

export function Help({ open, onClose }: { open: boolean; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open && !dialog.current?.open) dialog.current?.showModal();
    if (!open && dialog.current?.open) dialog.current.close();
  }, [open]);
  return (
    <dialog ref={dialog} class="help" aria-label="Keys" onClose={onClose}>
      <h2>Keys</h2>
      <dl>
        {KEYS.map(([keys, does]) => (
          <div key={keys}>
            <dt>
              {keys.split(" ").filter(Boolean).map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
      <p class="muted">Read only: nothing on this page changes a stream or an order. Faults concern a simulated exchange. Times are in this browser's time zone.</p>
      <p>
        <button type="button" onClick={onClose}>
          Close
        </button>
      </p>
    </dialog>
  );
}
