import { describe, expect, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Proxy from "../src/Proxy.js"

type Environment = Readonly<Record<string, string>>

const find = (environment: Environment, url: string): Proxy.Proxy | undefined => {
  const proxies = Proxy.fromEnvironment(environment)
  return proxies === undefined ? undefined : Either.getOrThrow(proxies(new URL(url)))
}
const hostOf = (environment: Environment, url: string): string | undefined => find(environment, url)?.host

describe("Proxy", () => {
  describe("fromEnvironment", () => {
    it("names none where no variable is set", () => {
      expect(Proxy.fromEnvironment({})).toBeUndefined()
      expect(Proxy.fromEnvironment({ HTTP_PROXY: "", https_proxy: "", NO_PROXY: "*" })).toBeUndefined()
    })

    it.each<readonly [Environment, string, string | undefined]>([
      [{ HTTP_PROXY: "http://p.example:3128" }, "http://r.example/", "p.example:3128"],
      [{ HTTP_PROXY: "http://p.example:3128" }, "https://r.example/", undefined],
      [{ HTTPS_PROXY: "http://p.example:3128" }, "https://r.example/", "p.example:3128"],
      [{ HTTPS_PROXY: "http://p.example:3128" }, "http://r.example/", undefined],
      [
        { HTTPS_PROXY: "http://upper.example", https_proxy: "http://lower.example" },
        "https://r.example/",
        "lower.example:80"
      ],
      [
        { HTTP_PROXY: "http://upper.example", http_proxy: "http://lower.example" },
        "http://r.example/",
        "lower.example:80"
      ],
      [{ https_proxy: "p.example:8080" }, "https://r.example/", "p.example:8080"],
      [{ https_proxy: "https://p.example" }, "https://r.example/", "p.example:443"],
      [{ https_proxy: "http://[fd00::1]:8080/" }, "https://r.example/", "[fd00::1]:8080"]
    ])("%j sends %s through %s", (environment, url, proxy) => {
      expect(hostOf(environment, url)).toBe(proxy)
    })

    it("ignores HTTP_PROXY in a CGI program, where a request can set it", () => {
      const cgi = { REQUEST_METHOD: "GET", HTTP_PROXY: "http://evil.example" }
      expect(hostOf(cgi, "http://r.example/")).toBeUndefined()
      expect(hostOf({ ...cgi, http_proxy: "http://p.example" }, "http://r.example/")).toBe("p.example:80")
    })

    it.each([
      "http://localhost:5000/",
      "http://a.localhost/",
      "https://127.0.0.1/",
      "https://127.8.9.1:5000/",
      "http://[::1]/"
    ])("calls %s directly", (url) => {
      expect(hostOf({ HTTP_PROXY: "http://p.example", HTTPS_PROXY: "http://p.example" }, url)).toBeUndefined()
    })

    it.each<readonly [string, string, boolean]>([
      ["*", "https://r.example/", true],
      ["r.example", "https://r.example/", true],
      ["r.example", "https://R.Example:5000/", true],
      ["R.EXAMPLE", "https://r.example/", true],
      ["r.example", "https://a.r.example/", true],
      ["r.example", "https://bar.example/", false],
      ["r.example", "https://r.example.evil/", false],
      [".r.example", "https://a.r.example/", true],
      [".r.example", "https://r.example/", false],
      ["*.r.example", "https://a.r.example/", true],
      ["*.r.example", "https://r.example/", false],
      ["r.example:5000", "https://r.example:5000/", true],
      ["r.example:5000", "https://r.example/", false],
      ["r.example:443", "https://r.example/", true],
      ["r.example:80", "http://r.example/", true],
      ["a.example, r.example", "https://r.example/", true],
      ["a.example r.example", "https://r.example/", true],
      ["a.example,,", "https://r.example/", false],
      ["10.0.0.0/8", "https://10.1.2.3:5000/", true],
      ["10.0.0.0/8", "https://11.1.2.3/", false],
      ["10.0.0.0/8", "https://ten.example/", false],
      ["10.0.0.0/33", "https://10.1.2.3/", false],
      ["10.1.2.3", "https://10.1.2.3/", true],
      ["10.1.2.3:5000", "https://10.1.2.3:5000/", true],
      ["10.1.2.3:5000", "https://10.1.2.3/", false],
      ["2.3", "https://10.1.2.3/", false],
      ["fd00::/8", "https://[fd12::1]:5000/", true],
      ["fd00::/8", "https://[fe80::1]/", false],
      ["fd00::1", "https://[fd00::1]:5000/", true],
      ["[fd00::1]:5000", "https://[fd00::1]:5000/", true],
      ["[fd00::1]:5000", "https://[fd00::1]/", false]
    ])("NO_PROXY=%s with %s: direct is %s", (noProxy, url, direct) => {
      const environment = { HTTP_PROXY: "http://p.example", HTTPS_PROXY: "http://p.example", NO_PROXY: noProxy }
      expect(hostOf(environment, url) === undefined).toBe(direct)
    })

    it("keeps the credentials apart from the URL, and out of sight", () => {
      const proxy = find({ HTTPS_PROXY: "http://us%40er:p%3Ass@p.example:3128" }, "https://r.example/")
      expect(proxy?.url.href).toBe("http://p.example:3128/")
      expect(JSON.stringify(proxy)).not.toMatch(/us|Basic/)
      expect(proxy?.authorization === undefined ? "" : Redacted.value(proxy.authorization)).toBe(
        `Basic ${Buffer.from("us@er:p:ss").toString("base64")}`
      )
      const odd = find({ HTTPS_PROXY: "http://user:100%@p.example" }, "https://r.example/")
      expect(odd === undefined ? {} : Proxy.headersFor(odd)).toEqual({
        "proxy-authorization": `Basic ${Buffer.from("user:100%").toString("base64")}`
      })
    })

    it.each([
      ["http://us er:hunter2@p exa mple", "HTTPS_PROXY in the environment is no URL of a proxy"],
      [
        "socks5://user:hunter2@p.example",
        "HTTPS_PROXY in the environment names a proxy by socks5://, only HTTP is spoken"
      ]
    ])("fails on %s when a request needs it", (value, message) => {
      const proxies = Proxy.fromEnvironment({ HTTPS_PROXY: value, NO_PROXY: "direct.example" })
      const error = proxies?.(new URL("https://r.example/")).pipe(Either.flip, Either.getOrThrow)
      expect(error).toMatchObject({ code: "ERR_PROXY_URL", message })
      expect(proxies?.(new URL("https://direct.example/"))).toEqual(Either.right(undefined))
    })
  })
})
