import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Failure from "../../src/Registry/Failure.js"

const subject = {
  operation: "get manifest of r.example/a:1",
  method: "GET",
  url: "https://r.example/v2/a?token=secret"
}
const oci = (code: string, message = "") => JSON.stringify({ errors: [{ code, message, detail: { x: 1 } }] })
const status = (code: number, body = "", headers: Record<string, string> = {}) =>
  Failure.fromStatus(subject, code, body, headers, 0)
const transport = (code: string, message = code) =>
  Failure.fromClient(
    subject,
    new HttpClientError.RequestError({
      request: HttpClientRequest.get(subject.url),
      reason: "Transport",
      cause: Object.assign(new Error("fetch failed"), { cause: Object.assign(new Error(message), { code }) })
    })
  )

describe("Failure", () => {
  describe("fromStatus", () => {
    it("has one reason for each status and code", () => {
      const table: ReadonlyArray<readonly [number, string, string]> = [
        [401, oci("UNAUTHORIZED"), "Unauthorized"],
        [403, oci("DENIED"), "Denied"],
        [404, oci("MANIFEST_UNKNOWN"), "NotFound"],
        [429, oci("TOOMANYREQUESTS"), "RateLimited"],
        [400, oci("DIGEST_INVALID"), "DigestMismatch"],
        [400, oci("SIZE_INVALID"), "SizeMismatch"],
        [400, oci("NAME_UNKNOWN"), "NotFound"],
        [400, oci("MANIFEST_INVALID"), "Rejected"],
        [405, oci("UNSUPPORTED"), "Rejected"],
        [413, "<html>", "Rejected"],
        [408, "", "Timeout"],
        [500, oci("UNKNOWN"), "ServerError"],
        [503, "<html><h1>busy", "ServerError"],
        [302, "", "Protocol"]
      ]
      for (const [code, body, reason] of table) assert.strictEqual(status(code, body).reason, reason, `${code} ${body}`)
    })
    it("keeps the registry's own words, within bounds, and no secret of the URL", () => {
      const error = status(400, oci("MANIFEST_INVALID", "x".repeat(10_000)))
      assert.strictEqual(error.codes[0]?.message.length, 500)
      assert.match(
        error.message,
        /^get manifest of r.example\/a:1: the registry refused \(HTTP 400\): MANIFEST_INVALID: x/
      )
      assert.strictEqual(error.url, "https://r.example/v2/a")
    })
    it("takes a body that is no error list for no codes", () => {
      for (const body of ["<html>", "{", `{"errors":null}`, `{"errors":[1]}`, "[]"]) {
        assert.deepStrictEqual(status(500, body).codes, [])
      }
    })
    it("recognises a TLS server that was called by plain HTTP", () => {
      const error = status(400, "Client sent an HTTP request to an HTTPS server.\n")
      assert.strictEqual(error.reason, "Tls")
      assert.include(error.hint ?? "", "--registry https://r.example")
      // The answer to a HEAD has no body, and that of such a server no header either.
      const head = { operation: "x", method: "HEAD", url: "http://r.example/v2/" }
      assert.strictEqual(Failure.fromStatus(head, 400, "", {}, 0).reason, "Tls")
      assert.strictEqual(Failure.fromStatus(head, 400, "", { date: "now" }, 0).reason, "Rejected")
    })
  })
  describe("fromClient", () => {
    it("tells apart what went wrong", () => {
      const table: ReadonlyArray<readonly [string, string, string]> = [
        ["ECONNREFUSED", "connect ECONNREFUSED", "Unreachable"],
        ["ENOTFOUND", "getaddrinfo", "Unreachable"],
        ["ECONNRESET", "read", "ConnectionLost"],
        ["EPIPE", "write", "ConnectionLost"],
        ["UND_ERR_SOCKET", "other side closed", "ConnectionLost"],
        ["UND_ERR_CONNECT_TIMEOUT", "", "Timeout"],
        ["DEPTH_ZERO_SELF_SIGNED_CERT", "self-signed certificate", "Tls"],
        ["ERR_TLS_CERT_ALTNAME_INVALID", "", "Tls"],
        ["ERR_SSL_WRONG_VERSION_NUMBER", "", "PlainHttpServer"],
        ["EPROTO", "ssl3_get_record:wrong version number", "PlainHttpServer"],
        ["HPE_INVALID_CONSTANT", "Parse Error", "NotARegistry"],
        ["", "whatever", "ConnectionLost"]
      ]
      for (const [code, message, reason] of table) assert.strictEqual(transport(code, message).reason, reason, code)
      assert.match(transport("EPROTO", "wrong version number").hint ?? "", /--plain-http/)
    })
    it("finds the code among several causes, and ends on a circular one", () => {
      const loop: { cause?: unknown } = {}
      loop.cause = { errors: [new Error("a"), Object.assign(new Error("b"), { code: "ECONNREFUSED" })], cause: loop }
      const error = new HttpClientError.RequestError({
        request: HttpClientRequest.get(subject.url),
        reason: "Transport",
        cause: loop
      })
      assert.strictEqual(Failure.fromClient(subject, error).reason, "Unreachable")
    })
  })
  describe("retryAfter", () => {
    it("reads seconds and dates", () => {
      const now = Date.parse("Wed, 21 Oct 2015 07:28:00 GMT")
      assert.deepStrictEqual(Failure.retryAfter("3", now), Option.some(3000))
      assert.deepStrictEqual(Failure.retryAfter("Wed, 21 Oct 2015 07:28:30 GMT", now), Option.some(30_000))
      assert.deepStrictEqual(Failure.retryAfter("Wed, 21 Oct 2015 07:27:30 GMT", now), Option.some(0))
      assert.deepStrictEqual(Failure.retryAfter("soon", now), Option.none())
      assert.deepStrictEqual(Failure.retryAfter(undefined, now), Option.none())
    })
  })
})
