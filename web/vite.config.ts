import { defineConfig } from "vitest/config";

// The bundle is committed, and served by `tickbridge web`. The gateway has browsers keep what is below `assets` for a
// year, so those names have a hash.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../consumers/web/static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
  // For `npm run dev`: the page from Vite, the data from a gateway on this machine.
  server: {
    proxy: {
      "/api": "http://127.0.0.1:9112",
      "/ws": { target: "ws://127.0.0.1:9112", ws: true },
    },
  },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
});
