/** A line for each request, in the form that web servers and the tools that read their logs share. */

/** A request at its end. */
export interface Entry {
  /** The address of the client. */
  readonly remote: string
  /** Who it was, where clients must say so. */
  readonly account: string | undefined
  /** When its headers had come. Milliseconds since 1970. */
  readonly time: number
  /** Until the last byte of the answer was gone, or the client. Milliseconds. */
  readonly duration: number
  readonly method: string
  /** As it came, without the query. */
  readonly path: string
  /** `1.1` */
  readonly httpVersion: string
  /** What was answered; `undefined` where the client was gone before that. */
  readonly status: number | undefined
  /** Bytes that came over the connection, headers included. */
  readonly received: number
  /** Bytes that went over the connection, headers included. */
  readonly sent: number
  readonly referrer: string | undefined
  readonly userAgent: string | undefined
  /** Whether all of the answer went out: `false` where the client left early. */
  readonly complete: boolean
}

/**
 * The combined log format, followed by bytes received, seconds, and `+` or, where the client left early, `-`:
 * `192.0.2.7 - alice [24/Jun/2025:11:02:27 +0000] "GET /v2/ HTTP/1.1" 200 212 "-" "docker/28.2" 187 0.002 +`.
 * What came from a stranger is escaped as Apache does it, and cut where it is long.
 */
export const combined = (entry: Entry): string => {
  const {
    account,
    complete,
    duration,
    httpVersion,
    method,
    path,
    received,
    referrer,
    remote,
    sent,
    status,
    userAgent
  } = entry
  const name = account === undefined ? "-" : safe(account).replaceAll(" ", "\\x20")
  const request = `${method} ${safe(path)} HTTP/${httpVersion}`
  const about = `"${safe(referrer ?? "-")}" "${safe(userAgent ?? "-")}"`
  const bytes = `${received} ${(duration / 1000).toFixed(3)} ${complete ? "+" : "-"}`
  return `${remote || "-"} - ${name} [${when(entry.time)}] "${request}" ${status ?? "-"} ${sent} ${about} ${bytes}`
}

/** The entry for one line of JSON: `time` in ISO 8601, nothing undefined. */
export const toJson = (entry: Entry): Readonly<Record<string, string | number | boolean | null>> => ({
  time: new Date(entry.time).toISOString(),
  remote: entry.remote,
  account: entry.account ?? null,
  method: entry.method,
  path: cut(entry.path),
  httpVersion: entry.httpVersion,
  status: entry.status ?? null,
  received: entry.received,
  sent: entry.sent,
  duration: Math.round(entry.duration * 1000) / 1000,
  referrer: entry.referrer === undefined ? null : cut(entry.referrer),
  userAgent: entry.userAgent === undefined ? null : cut(entry.userAgent),
  complete: entry.complete
})

// internal

/** Characters of a path or header that are logged. */
const longest = 1000

const cut = (text: string): string => (text.length > longest ? `${text.slice(0, longest)}...` : text)

const safe = (text: string): string =>
  cut(text).replace(/[^\x20-\x7e]|["\\]/g, (character) =>
    character === '"' || character === "\\"
      ? `\\${character}`
      : [...Buffer.from(character)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")
  )

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

/** `24/Jun/2025:11:02:27 +0000` */
const when = (time: number): string => {
  const date = new Date(time)
  const [day = "", clock = ""] = date.toISOString().split("T")
  return `${day.slice(8)}/${months[date.getUTCMonth()] ?? ""}/${day.slice(0, 4)}:${clock.slice(0, 8)} +0000`
}
