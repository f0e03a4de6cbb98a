import { describe, expect, it } from "@effect/vitest"
import * as Either from "effect/Either"
import { parse } from "../../src/Auth/PasswordFile.js"

const hash = "$2y$05$KyzPtMxdHlYJh.SbHSA7re0khRcpyB9mcwxzlXnZy4VpJum8.kS5W"

describe("PasswordFile", () => {
  describe("parse", () => {
    it("gives the bcrypt hash of each user, whatever line ends and comments there are", () => {
      const text = `# ours\r\nalice:${hash}\r\n\r\nbob:${hash.replace("$2y", "$2b")}\neve:${hash.replace("$2y", "$2a")}`
      const users = Either.getOrThrow(parse(text))
      expect([...users]).toEqual([
        ["alice", hash],
        ["bob", hash.replace("$2y", "$2b")],
        ["eve", hash.replace("$2y", "$2a")]
      ])
    })

    it.each([
      ["", "there is no user in it"],
      [`alice:${hash}\nbob:$apr1$salt$secretsecret`, 'line 2, user "bob": the hash is not bcrypt ($2y$, $2b$ or $2a$)'],
      ["bob:{SHA}secretsecret", 'line 1, user "bob": the hash is not bcrypt ($2y$, $2b$ or $2a$)'],
      ["bob:$2x$secretsecret", 'line 1, user "bob": the hash is not bcrypt ($2y$, $2b$ or $2a$)'],
      ["secretsecret", "line 1 is not USER:HASH"],
      [`:${hash}`, "line 1 is not USER:HASH"],
      [`b\u001b:${hash.slice(0, -1)}`, 'line 1, user "b\\u001b": the hash is not bcrypt ($2y$, $2b$ or $2a$)'],
      [`bob:${hash.replace("$05", "$31")}`, 'line 1, user "bob": the cost of the hash is 31, not 4 to 16'],
      [`bob:${hash}\nbob:${hash}`, 'line 2, user "bob": there is one of that name already']
    ])("refuses %j, naming line and user but no hash", (text, message) => {
      const error = Either.getOrThrow(Either.flip(parse(text)))
      expect(error.message).toBe(message)
      expect(error.message).not.toContain("secret")
    })
  })
})
