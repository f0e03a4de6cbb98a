import { describe, expect, it } from "@effect/vitest"
import { isLoopback, reachable } from "../src/Address.js"

describe("Address", () => {
  describe("isLoopback", () => {
    it.each(["127.0.0.1", "127.8.9.10", "::1", "0:0:0:0:0:0:0:1", "localhost", "registry.localhost"])(
      "takes %s for this machine's own",
      (host) => expect(isLoopback(host)).toBe(true)
    )
    it.each([
      "0.0.0.0",
      "::",
      "",
      "128.0.0.1",
      "192.0.2.7",
      "::2",
      "registry.example",
      "127.0.0.1.example",
      "notlocalhost"
    ])("does not take %s for it", (host) => expect(isLoopback(host)).toBe(false))
  })

  describe("reachable", () => {
    it.each([
      ["0.0.0.0", "127.0.0.1"],
      ["::", "[::1]"],
      ["fe80::1", "[fe80::1]"],
      ["registry.example", "registry.example"]
    ])("says %s as %s", (host, said) => expect(reachable(host)).toBe(said))
  })
})
