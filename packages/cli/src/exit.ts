/** How a command ends: what is said about a failure, and the exit code. */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { StdoutFailed } from "./stdio.js"

export const code = {
  done: 0,
  failed: 1,
  usage: 2,
  /** 128 and the number of the signal, as shells count. */
  interrupted: 130,
  terminated: 143
} as const

/** The command failed and has said so; only the exit code is left to pass on. */
export class Failed extends Data.TaggedError("Failed")<{ readonly code: number }> {}

/** The whole operation took longer than `--timeout`. */
export class TimedOut extends Data.TaggedError("TimedOut")<{ readonly operation: string; readonly limit: string }> {
  override get message(): string {
    return `${this.operation}: not done within ${this.limit}`
  }
}

/** The words of the command line cannot be understood. */
export class UsageError extends Data.TaggedError("UsageError")<{
  readonly what: string
  readonly why: string
  readonly hint: string
}> {
  readonly reason = "Usage"
  override get message(): string {
    return `${this.what}: ${this.why}`
  }
}

/** An error in the parts that a person reads. */
export interface Failure {
  readonly tag: string
  readonly reason: string
  /** What was being done, and to what. */
  readonly what: string
  readonly why: string
  readonly hint: string
  /** One line, as the library says it. */
  readonly message: string
  readonly status: number | null
  readonly codes: ReadonlyArray<{ readonly code: string; readonly message: string }>
}

const stdoutFailure = ({ message, reason }: StdoutFailed): Failure => ({
  tag: "StdoutFailed",
  reason: "Io",
  what: "standard output",
  why: reason,
  hint: "free some space, or write somewhere else",
  message,
  status: null,
  codes: []
})

/** The failure behind a cause; a defect is one of ours. */
export const fromCause = (cause: Cause.Cause<unknown>, command: string): Failure =>
  Option.match(Cause.failureOption(cause), {
    onSome: (error) => describe(error, command),
    onNone: () => {
      const defect = Cause.squash(cause)
      if (defect instanceof StdoutFailed) return stdoutFailure(defect)
      const message = defect instanceof Error ? defect.message : String(defect)
      return {
        tag: "Defect",
        reason: "Defect",
        what: `ereg ${command}`,
        why: `${message} (this is a fault in ereg)`,
        hint: "run it again with --log-level debug and report what it prints",
        message,
        status: null,
        codes: []
      }
    }
  })

/** Any error of the library in the parts that a person reads. */
export const describe = (error: unknown, command: string): Failure => {
  const message = text(error, "message") ?? String(error)
  const tag = text(error, "_tag") ?? "Error"
  const reason = text(error, "reason") ?? tag
  const [what, why] = split(error, message, command)
  const codes = Predicate.hasProperty(error, "codes") && Array.isArray(error.codes) ? error.codes.flatMap(ociCode) : []
  return {
    tag,
    reason,
    what,
    why,
    hint: text(error, "hint") ?? (reason === "Rejected" && codes.length === 0 ? withoutWords : hints[reason]) ?? more,
    message,
    status: Predicate.hasProperty(error, "status") && typeof error.status === "number" ? error.status : null,
    codes
  }
}

/** The one object that `--output json` prints for a failure. */
export const toJson = ({ codes, hint, message, reason, status, tag }: Failure) => ({
  error: { tag, reason, message, hint, status, codes }
})

// internal

/** A message of the library is `WHAT: WHY`, and the error says what the first part is. */
const split = (error: unknown, message: string, command: string): readonly [what: string, why: string] => {
  for (const field of ["operation", "subject", "path", "what"]) {
    const what = text(error, field)
    if (what !== undefined && what !== "" && message.startsWith(`${what}: `)) {
      return [what, message.slice(what.length + 2)]
    }
  }
  const at = message.indexOf(": ")
  return at < 0 ? [`ereg ${command}`, message] : [message.slice(0, at), message.slice(at + 2)]
}

const text = (error: unknown, field: string): string | undefined =>
  Predicate.hasProperty(error, field) && typeof error[field] === "string" ? error[field] : undefined

const ociCode = (entry: unknown) => {
  const name = text(entry, "code")
  return name === undefined ? [] : [{ code: name, message: text(entry, "message") ?? "" }]
}

const more = "add --log-level debug to see more"
const withoutWords = "the registry gives no reason that helps: its own log may"

/** What to try where the error itself does not know better. */
const hints: Readonly<Record<string, string>> = {
  Unreachable: "is the registry running, and are host and port right? `ereg serve` starts one on port 15000",
  ConnectionLost: "try again; what arrived is not sent twice",
  Timeout: "try again, or check the network between here and the registry",
  TimedOut: "give it more time, as in --timeout 10m: it goes on where it stopped",
  Tls: "check the registry's certificate and the name it is reached by; --cert-dir DIR adds an authority",
  Proxy: "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
  PlainHttpServer: "add --plain-http",
  NotARegistry: "check host and port: something else answers there",
  Unauthorized: "`ereg login HOST`, or EREG_USERNAME and EREG_PASSWORD for the configured registry",
  Credentials: "mend what holds them, or `ereg login HOST`",
  InvalidCredentials: "mend what holds them, or `ereg login HOST`",
  Denied: "check the name of the repository and what you may do there",
  NotFound: "`ereg list` and `ereg tags REPOSITORY` show what there is",
  RateLimited: "wait a while and try again",
  ServerError: "try again; if it stays, look into the registry's own log",
  Rejected: "the registry's own words are in the line above",
  DigestMismatch: "try again; if it stays, the registry or the archive is damaged",
  SizeMismatch: "try again; if it stays, the registry or the archive is damaged",
  Protocol: "check that this is a registry, and which version it is",
  TooLarge: "this is more than ereg takes from a stranger",
  UnsafeUrl: "the registry is misconfigured or hostile; do not follow it by hand either",
  DeleteDisabled: "switch deleting on in the registry: storage.delete.enabled, REGISTRY_STORAGE_DELETE_ENABLED=true",
  StillReferenced: "--force removes it all the same",
  InvalidReference: "a reference is [HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]",
  InvalidDigest: "a digest is sha256: and 64 hex digits",
  InvalidPlatform: "for example --platform linux/amd64",
  PlatformNotFound: "choose one of those it has with --platform OS/ARCHITECTURE",
  NoImage: "check that it is the right file: `ereg validate` tells what is in it",
  InvalidArchive: "`ereg validate ARCHIVE` lists everything that is wrong with it",
  LayerMismatch: "save the image again: the archive is damaged",
  MissingContent: "fetch or save the image again, with all that it names",
  NoRegistry: "say where to: --registry http://localhost:15000, or EREG_REGISTRY",
  NoTag: "give the reference to push it to: HOST/REPOSITORY:TAG",
  PortInUse: "choose another port with --port, 0 for a free one"
}
