/** Reads `htpasswd` files: a line `user:hash` for each user, bcrypt hashes only. */
import * as Data from "effect/Data"
import * as Either from "effect/Either"

/** The hash of each user. */
export type Users = ReadonlyMap<string, string>

/** What is wrong with a file; never holds a hash. */
export class PasswordFileError extends Data.TaggedError("PasswordFileError")<{ readonly message: string }> {}

/** The users of a file's text; empty lines and those that start with `#` mean nothing. Without a user it is an error. */
export const parse = (text: string): Either.Either<Users, PasswordFileError> => {
  const users = new Map<string, string>()
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue
    const at = line.indexOf(":")
    const user = line.slice(0, Math.max(at, 0))
    const place = `line ${index + 1}`
    if (user === "") return wrong(`${place} is not USER:HASH`)
    const named = `${place}, user ${JSON.stringify(user)}`
    if (users.has(user)) return wrong(`${named}: there is one of that name already`)
    const hash = line.slice(at + 1).trim()
    const match = bcrypt.exec(hash)
    if (match === null) return wrong(`${named}: the hash is not bcrypt ($2y$, $2b$ or $2a$)`)
    const cost = Number(match[1])
    if (cost < 4 || cost > mostCost) return wrong(`${named}: the cost of the hash is ${cost}, not 4 to ${mostCost}`)
    users.set(user, hash)
  }
  return users.size === 0 ? wrong("there is no user in it") : Either.right(users)
}

// internal

/** Some five seconds a check; more would only be a way to be stopped. */
const mostCost = 16

const bcrypt = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/

const wrong = (message: string) => Either.left(new PasswordFileError({ message }))
