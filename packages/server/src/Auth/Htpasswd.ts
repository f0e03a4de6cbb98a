/**
 * Passwords from a file as `htpasswd -B` writes it. The file is read again when it changes; new content that cannot be used
 * is logged, and what was read before stays in force. A right password is remembered for some minutes, as a keyed hash.
 */
import { createHmac, randomBytes } from "node:crypto"
import { readFile, stat } from "node:fs/promises"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Account, Authenticate } from "../Auth.js"
import * as Limits from "../Limits.js"
import * as Metrics from "../Metrics.js"
import * as OciError from "../OciError.js"
import { ServerError } from "../ServerError.js"
import * as Bcrypt from "./Bcrypt.js"
import { PasswordFileError, parse, type Users } from "./PasswordFile.js"

export interface Options {
  /** What the challenge names. Default `registry`. */
  readonly realm?: string | undefined
  /** How long a right password is not computed again. Default 5 minutes. */
  readonly remember?: Duration.DurationInput | undefined
}

/**
 * Lets in who has a user and password of the file. Fails with `InvalidHtpasswd` where the file cannot be read or holds other
 * hashes than bcrypt. Requests are refused with 401, or with 429 where too many passwords wait to be checked.
 */
export const make = (path: string, options: Options = {}): Effect.Effect<Authenticate, ServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const file = yield* watched(path)
    const checker = yield* Bcrypt.make
    const remembered = new Remembered(Duration.toMillis(options.remember ?? "5 minutes"))
    const challenge = `Basic realm="${(options.realm ?? "registry").replaceAll(/["\\]/g, "\\$&")}", charset="UTF-8"`
    const unauthorized = (message: string) =>
      OciError.make("UNAUTHORIZED", message, { headers: { "www-authenticate": challenge } })
    const pending = new Map<string, Promise<boolean | undefined>>()

    /** Clients send several requests at once: one check answers them all. */
    const check = (key: string, source: string, { name, password }: Credentials, users: Users) => {
      const hash = users.get(name)
      // What was asked about a hash of before says nothing of this one.
      const question = `${key} ${hash ?? ""}`
      const asked =
        pending.get(question) ??
        // An unknown name takes as long as another one, always the same, would, and is then refused whatever comes.
        checker
          .check(source, password, hash ?? remembered.decoy(name, users))
          .then((matches) => (matches === true ? hash !== undefined : matches))
          .finally(() => pending.delete(question))
      pending.set(question, asked)
      return asked
    }

    return ({ authorization, remote }) =>
      Effect.gen(function* () {
        const credentials = parseBasic(authorization)
        if (credentials === undefined) return yield* unauthorized("user and password are needed")
        const now = yield* Clock.currentTimeMillis
        const users = yield* file(now)
        const account: Account = { name: credentials.name }
        const key = remembered.key(`${credentials.name}:${credentials.password}`)
        if (remembered.has(key, users, now)) return account
        const matches = yield* Effect.promise(() => check(key, Limits.source(remote), credentials, users))
        Metrics.passwordChecked(matches)
        if (matches === undefined) return yield* busy
        if (!matches) return yield* unauthorized("user or password is wrong")
        remembered.add(key, users, now)
        return account
      })
  })

// internal

interface Credentials {
  readonly name: string
  readonly password: string
}

const busy = OciError.make("TOOMANYREQUESTS", "too many passwords are being checked; try again", {
  headers: { "retry-after": "1" }
})

/** User and password of an `Authorization` header; the first colon ends the name. https://www.rfc-editor.org/rfc/rfc7617#section-2 */
const parseBasic = (header: string | undefined): Credentials | undefined => {
  const match = header === undefined ? null : /^basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(header)
  const text = Buffer.from(match?.[1] ?? "", "base64").toString("utf8")
  const at = text.indexOf(":")
  return at < 1 ? undefined : { name: text.slice(0, at), password: text.slice(at + 1) }
}

/** Right passwords, by a hash that only this process can make. */
class Remembered {
  private readonly secret = randomBytes(32)
  private entries = new Map<string, number>()
  private of: Users | undefined

  constructor(private readonly milliseconds: number) {}

  key(text: string): string {
    return createHmac("sha256", this.secret).update(text).digest("base64")
  }

  /** What is remembered of other users than those of now is void. */
  has(key: string, users: Users, now: number): boolean {
    return this.of === users && (this.entries.get(key) ?? 0) > now
  }

  add(key: string, users: Users, now: number): void {
    if (this.of !== users) this.entries = new Map()
    this.of = users
    // As many as there are users at most would do; a password that was changed leaves nothing, because the file changed.
    this.entries.delete(key)
    this.entries.set(key, now + this.milliseconds)
    for (const [oldest] of this.entries) {
      if (this.entries.size <= users.size) break
      this.entries.delete(oldest)
    }
  }

  /** The hash that stands for a name that nobody has. */
  decoy(name: string, users: Users): string {
    const hashes = [...users.values()]
    const number = createHmac("sha256", this.secret).update(`decoy ${name}`).digest().readUInt32BE(0)
    return hashes[number % hashes.length] ?? ""
  }
}

/** How often the file is looked at, in milliseconds. */
const between = 1000

/** The users of the file at a time, in milliseconds since 1970. */
const watched = (path: string) =>
  Effect.gen(function* () {
    const first = yield* Effect.mapError(
      read(path),
      (cause) => new ServerError({ reason: "InvalidHtpasswd", subject: path, cause })
    )
    let users = first.users
    let version = first.version
    let looked = yield* Clock.currentTimeMillis
    let complaint: string | undefined
    const again = Effect.gen(function* () {
      const found = yield* versionOf(path)
      if (found === version) return
      const next = yield* read(path)
      users = next.users
      version = next.version
      complaint = undefined
      yield* Effect.logInfo(`the passwords were read again from ${path}`)
    }).pipe(
      Effect.catchAll(({ message }) => {
        if (message === complaint) return Effect.void
        complaint = message
        return Effect.logWarning(`the passwords read before stay in force: ${path} cannot be used: ${message}`)
      }),
      // Who is removed from the file must not stay by leaving in the middle of this.
      Effect.uninterruptible
    )
    return (now: number): Effect.Effect<Users> =>
      Effect.suspend(() => {
        if (now - looked < between) return Effect.succeed(users)
        looked = now
        return Effect.map(again, () => users)
      })
  })

const read = (path: string) =>
  Effect.gen(function* () {
    // Before the content: what is written in between is then seen as a change.
    const version = yield* versionOf(path)
    const text = yield* Effect.tryPromise({ try: () => readFile(path, "utf8"), catch: unreadable })
    return { version, users: yield* parse(text) }
  })

const versionOf = (path: string) =>
  Effect.tryPromise({
    try: async () => {
      const { ctimeNs, ino, mtimeNs, size } = await stat(path, { bigint: true })
      return [ctimeNs, ino, mtimeNs, size].join(" ")
    },
    catch: unreadable
  })

const unreadable = (cause: unknown) =>
  new PasswordFileError({ message: cause instanceof Error ? cause.message : String(cause) })
