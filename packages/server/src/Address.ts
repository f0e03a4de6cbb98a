/** Which address to listen on, and what it is called from outside. */
import { BlockList, isIP, isIPv6 } from "node:net"

/** Whether only this machine reaches a server that listens on `host`. A name counts where it can be no other than this one. */
export const isLoopback = (host: string): boolean => {
  if (isIP(host) === 0) return host === "localhost" || host.endsWith(".localhost")
  return loopback.check(host, isIPv6(host) ? "ipv6" : "ipv4")
}

/** Where a client on this machine finds a server that listens on `host`. */
export const reachable = (host: string): string => {
  if (host === "0.0.0.0" || host === "") return "127.0.0.1"
  if (host === "::") return "[::1]"
  return host.includes(":") ? `[${host}]` : host
}

// internal

const loopback = new BlockList()
loopback.addSubnet("127.0.0.0", 8)
loopback.addAddress("::1", "ipv6")
