// URLs of servers, from the hosts and ports that other servers say.

/** The URL of a server. */
export function serverUrl(scheme: string, host: string, port: string): string {
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** The host in the URL of a server. */
export function hostOf(url: string): string {
  return url.replace(/^\w+:\/\/(.*):\d+$/, "$1").replace(/^\[(.*)\]$/, "$1");
}
