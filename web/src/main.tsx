import { options, render } from "preact";
import { useMemo, useState } from "preact/hooks";
import { clock } from "./model/format";
import { token } from "./net/api";
import { controlFeed, feed, watchFeeds } from "./net/feeds";
import { health } from "./net/health";
import { usePoll } from "./net/poll";
import type { Info } from "./net/types";
import { AccountPage } from "./pages/account";
import { EntriesPage } from "./pages/entries";
import { FaultsPage } from "./pages/faults";
import { PairPage } from "./pages/pair";
import { RejectsPage } from "./pages/rejects";
import { StreamsPage } from "./pages/streams";
import { Help } from "./ui/help";
import { useKeys, watchKeys } from "./ui/keys";
import { go, link, route, watchRoute } from "./ui/route";
import { useStore } from "./ui/store";
import { theme, toggleTheme, watchTheme } from "./ui/theme";
import { TokenBox } from "./ui/token";
import "./style.css";

const INFO_MS = 3_000;

const PAGES = {
  streams: { title: "Streams", page: StreamsPage },
  pair: { title: "Pair", page: PairPage },
  account: { title: "Account", page: AccountPage },
  entries: { title: "Entries", page: EntriesPage },
  rejects: { title: "Rejects", page: RejectsPage },
  faults: { title: "Faults", page: FaultsPage },
} as const;
type Name = keyof typeof PAGES;

function App() {
  const { path } = useStore(route);
  const { state } = useStore(health);
  const [help, setHelp] = useState(false);
  const { data: info } = usePoll<Info>("api/info", INFO_MS);
  const now = useStore(theme);
  useKeys(
    useMemo(
      () => ({
        "g s": () => go(link(["streams"])),
        "g p": () => go(link(["pair"])),
        "g a": () => go(link(["account"])),
        "g e": () => go(link(["entries"])),
        "g r": () => go(link(["rejects"])),
        "g f": () => go(link(["faults"])),
        t: toggleTheme,
        "?": () => setHelp(true),
      }),
      [],
    ),
  );
  const name: Name = (path[0] ?? "") in PAGES ? (path[0] as Name) : "streams";
  const Page = PAGES[name].page;
  const shown = Object.entries(PAGES).filter(([one]) => one !== "faults" || name === "faults" || info?.simulators.length);
  document.title = `${path[2] ?? PAGES[name].title} · Tickbridge`;
  return (
    <>
      <header class="top">
        <a class="brand" href={link(["streams"])}>
          Tickbridge
        </a>
        <nav aria-label="Pages">
          {shown.map(([one, { title }]) => (
            <a key={one} href={link([one])} aria-current={one === name ? "page" : undefined}>
              {title}
            </a>
          ))}
        </nav>
        <span class="grow" />
        <Connection />
        {info && (
          <span class="muted version" title="version of the gateway">
            {info.version}
          </span>
        )}
        <button type="button" class="icon" onClick={toggleTheme} aria-label={now === "dark" ? "Light colours" : "Dark colours"} title="Dark or light (t)">
          {now === "dark" ? "☀" : "☾"}
        </button>
        <button type="button" class="icon" onClick={() => setHelp(true)} aria-label="Keys" title="Keys (?)">
          ?
        </button>
      </header>
      <Banner />
      {state === "refused" && name !== "account" ? <Refused /> : <Page />}
      <Help open={help} onClose={() => setHelp(false)} />
    </>
  );
}

/** Whether entries are coming. */
function Connection() {
  const { state } = useStore(health);
  const { state: link } = useStore(feed.link);
  const good = state === "ok" && (link === "open" || link === "idle");
  const words = good ? "connected" : state === "unknown" || (state === "ok" && link === "connecting") ? "connecting" : "not connected";
  return (
    <span class={`connection ${good ? "good" : "bad"}`} role="status" title={words}>
      <i aria-hidden="true" />
      <span class="word">{words}</span>
    </span>
  );
}

/** What is away, since when, and what that means for what is seen. */
function Banner() {
  const { state, message, since } = useStore(health);
  const link = useStore(feed.link);
  const controls = useStore(controlFeed.link);
  const redis = link.redis || controls.redis || (state === "redis" ? message : "");
  let words = "";
  if (state === "away") words = `The gateway has not answered since ${clock(since)}. What you see is old. It is tried again.`;
  else if (redis) words = `The gateway cannot read Redis: ${redis}. What you see is old. Nothing is missed: it goes on where it was.`;
  else if (link.state === "away" || controls.state === "away") words = "The connection for entries is broken. It is opened again.";
  if (!words) return null;
  return (
    <p class="banner" role="alert">
      {words}
    </p>
  );
}

function Refused() {
  const { message } = useStore(health);
  const current = useStore(token);
  return (
    <main class="page">
      <TokenBox why={current ? `The gateway does not accept this token: ${message}` : `The gateway wants a token: ${message}`} />
    </main>
  );
}

// What comes between two frames is drawn with the next one, and the taking of an answer is a task of its own.
options.debounceRendering = requestAnimationFrame;
watchTheme();
watchRoute();
watchKeys();
watchFeeds();
render(<App />, document.getElementById("app")!);
