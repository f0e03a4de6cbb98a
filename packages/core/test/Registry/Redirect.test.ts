import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redirect from "../../src/Registry/Redirect.js"

const judge = (
  origin: string,
  target: string,
  kind: Redirect.Kind = "redirect",
  allowUrl: (url: URL) => boolean = () => true
) =>
  Either.match(Redirect.judge({ origin, allowUrl }, `${origin}/v2/a/blobs/uploads/`, target, kind), {
    onLeft: (why) => `refused: ${why}`,
    onRight: (url) => url.href
  })

describe("Redirect", () => {
  describe("judge", () => {
    it("resolves relative locations and keeps their query as text", () => {
      assert.strictEqual(
        judge("https://r.example", "x?_state=a%2Bb=="),
        "https://r.example/v2/a/blobs/uploads/x?_state=a%2Bb=="
      )
      assert.strictEqual(judge("https://r.example", "/v2/x"), "https://r.example/v2/x")
    })
    it("follows to another public host, but not for the next page", () => {
      assert.strictEqual(judge("https://r.example", "https://cdn.example/b?sig=1"), "https://cdn.example/b?sig=1")
      assert.match(judge("https://r.example", "https://cdn.example/b", "link"), /^refused: it leads from/)
    })
    it("uses an http location on the registry's own host as https", () => {
      assert.strictEqual(judge("https://r.example:5000", "http://r.example:5000/v2/x"), "https://r.example:5000/v2/x")
    })
    it("refuses the way from https to http", () => {
      assert.match(judge("https://r.example", "http://cdn.example/x"), /from HTTPS to HTTP/)
    })
    it("refuses user info and other schemes", () => {
      assert.match(judge("https://r.example", "https://u:p@r.example/x"), /user info/)
      assert.match(judge("https://r.example", "file:///etc/passwd"), /scheme/)
      assert.match(judge("https://r.example", "http://["), /no URL/)
    })
    it("refuses addresses of this machine and its networks, in any spelling", () => {
      for (const host of [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0",
        "localhost",
        "a.localhost",
        "localhost.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "[fe80::1]",
        "metadata.google.internal",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "[fd00::1]",
        "[2002:a00:1::]",
        "[::ffff:10.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[2001:0:a00:1::]",
        "[ff02::1]",
        "224.0.0.1",
        "255.255.255.255",
        "localhost..",
        "instance-data",
        "minio"
      ]) {
        assert.match(
          judge("http://r.example", `http://${host}/x`),
          /^refused: .* is a (loopback|link-local|private)/,
          host
        )
      }
      for (const host of ["172.32.0.1", "100.128.0.1", "[2001:db8::1]", "9.9.9.9"]) {
        assert.match(judge("http://r.example", `http://${host}/x`), /^http:/, host)
      }
    })
    it("allows a network that the registry itself is in, and no other", () => {
      assert.strictEqual(judge("http://127.0.0.1:5000", "http://localhost:9000/x"), "http://localhost:9000/x")
      assert.match(judge("http://127.0.0.1:5000", "http://169.254.169.254/x"), /link-local/)
      assert.strictEqual(judge("http://10.0.0.1:5000", "http://192.168.0.1/x"), "http://192.168.0.1/x")
      assert.strictEqual(judge("http://registry:5000", "http://minio:9000/x"), "http://minio:9000/x")
    })
    it("asks allowUrl, also about the registry's own URLs", () => {
      const refuse = (url: URL) => !url.pathname.includes("secret")
      assert.match(judge("https://r.example", "/secret", "location", refuse), /allowUrl/)
    })
  })
  describe("target", () => {
    it("follows reads on every redirect and writes on 307 and 308 only", () => {
      assert.deepStrictEqual(Redirect.target("GET", 302, "x"), Option.some("x"))
      assert.deepStrictEqual(Redirect.target("HEAD", 301, "x"), Option.some("x"))
      assert.deepStrictEqual(Redirect.target("PUT", 307, "x"), Option.some("x"))
      assert.deepStrictEqual(Redirect.target("PUT", 302, "x"), Option.none())
      assert.deepStrictEqual(Redirect.target("DELETE", 307, "x"), Option.none())
      assert.deepStrictEqual(Redirect.target("POST", 202, "x"), Option.none())
    })
  })
})
