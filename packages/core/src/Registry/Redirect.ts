/**
 * The judge of every URL that a registry hands out. A hostile or broken registry could otherwise make us call services
 * that only this machine can reach, or carry what is meant for one server to another.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"

/** Redirects followed for one request; a loop would never end. */
export const maxRedirects = 10

/** Where a URL stood: a `Location` of an upload, the target of a redirect, a `Link` to the next page, or the token server. */
export type Kind = "location" | "redirect" | "link" | "realm"

export interface Rules {
  /** `https://registry.example:5000` */
  readonly origin: string
  readonly allowUrl: (url: URL) => boolean
}

/**
 * The URL to call, or why it must not be called. A relative target is resolved against `from`. An `http` URL of an
 * HTTPS registry's own host is used as `https`: registries behind a proxy write such.
 */
export const judge = (rules: Rules, from: string, target: string, kind: Kind): Either.Either<URL, string> => {
  if (!URL.canParse(target, from)) return Either.left("it is no URL")
  const url = new URL(target, from)
  const own = new URL(rules.origin)
  if (url.protocol !== "http:" && url.protocol !== "https:") return Either.left(`its scheme is ${url.protocol}`)
  if (url.username !== "" || url.password !== "") return Either.left("it carries user info")
  if (own.protocol === "https:" && url.protocol === "http:" && url.host === own.host) url.protocol = "https:"
  if (new URL(from).protocol === "https:" && url.protocol === "http:") return Either.left("it leads from HTTPS to HTTP")
  url.hash = ""
  if (url.origin !== own.origin) {
    if (kind === "link") return Either.left(`it leads from ${own.origin} to ${url.origin}`)
    const network = networkOf(url.hostname)
    if (network !== "public" && network !== networkOf(own.hostname)) {
      return Either.left(`${url.host} is a ${network} address and the registry is not`)
    }
  }
  return rules.allowUrl(url) ? Either.right(url) : Either.left("allowUrl of the configuration refuses it")
}

/** Where a redirect leads, or `None` where the method and status say that the answer is final. */
export const target = (method: string, status: number, location: string | undefined): Option.Option<string> => {
  if (location === undefined) return Option.none()
  const reads = method === "GET" || method === "HEAD"
  const follows = reads ? [301, 302, 303, 307, 308] : method === "DELETE" ? [] : [307, 308]
  return follows.includes(status) ? Option.some(location) : Option.none()
}

/** The request headers another origin gets too; all else, credentials above all, is for the registry alone. */
export const publicHeaders: ReadonlySet<string> = new Set([
  "accept",
  "accept-encoding",
  "content-range",
  "content-type",
  "range",
  "user-agent"
])

export type Network = "loopback" | "link-local" | "private" | "public"

/** By the address alone: names are not resolved. The URL parser has normalised octal, hex and short forms. */
export const networkOf = (hostname: string): Network => {
  const name = hostname.toLowerCase().replace(/\.+$/, "")
  if (name === "localhost" || name.endsWith(".localhost")) return "loopback"
  if (name === "metadata.google.internal") return "link-local"
  if (name.startsWith("[")) return networkOfV6(name.slice(1, -1))
  if (/^\d+\.\d+\.\d+\.\d+$/.test(name)) return networkOfV4(name.split(".").map(Number))
  // A name without a dot is one of the local network: `instance-data`, a neighbour in a composition of containers.
  return name.includes(".") ? "public" : "private"
}

// internal

const networkOfV4 = ([a = 0, b = 0]: ReadonlyArray<number>): Network => {
  if (a === 127 || a === 0) return "loopback"
  if (a === 169 && b === 254) return "link-local"
  const isPrivate =
    a === 10 ||
    a >= 224 ||
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && b === 168) ||
    (a === 100 && b >= 64 && b < 128)
  return isPrivate ? "private" : "public"
}

const networkOfV6 = (address: string): Network => {
  const groups = expand(address)
  const [first = 0, second = 0] = groups
  const embedded = (at: number) => {
    const [high = 0, low = 0] = groups.slice(at, at + 2)
    return networkOfV4([high >> 8, high & 255, low >> 8, low & 255])
  }
  const leading = groups.findIndex((group) => group !== 0)
  if (leading === -1 || (leading === 7 && groups[7] === 1)) return "loopback"
  if (leading >= 6) return embedded(6)
  if (leading === 5 && groups[5] === 0xffff) return embedded(6)
  if (leading === 4 && groups[4] === 0xffff && groups[5] === 0) return embedded(6)
  if (first === 0x64 && second === 0xff9b) return embedded(6)
  if (first === 0x2002) return embedded(1)
  // Teredo carries addresses that we would have to take apart, and multicast has no registry.
  if ((first === 0x2001 && second === 0) || first >= 0xff00) return "private"
  if ((first & 0xffc0) === 0xfe80) return "link-local"
  if ((first & 0xfe00) === 0xfc00 || (first & 0xffc0) === 0xfec0) return "private"
  return "public"
}

/** The eight groups of an address as the URL parser writes it. */
const expand = (address: string): ReadonlyArray<number> => {
  const [head = "", tail] = address.split("::")
  const parse = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)))
  if (tail === undefined) return parse(head)
  const before = parse(head)
  const after = parse(tail)
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after]
}
