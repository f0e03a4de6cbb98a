import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "fast-check"
import * as Route from "../src/Route.js"

const digest = `sha256:${"a".repeat(64)}`
const id = "01234567-89ab-cdef-0123-456789abcdef"

/** Only the fields that a test names. */
const has = (route: Route.Route, expected: object) => assert.deepInclude(route, expected)

const refused = (method: string, path: string, query = "") => {
  const route = Route.parse(method, path, query)
  return route._tag === "Invalid" ? { code: route.error.code, status: route.error.status } : route
}

describe("Route", () => {
  describe("parse", () => {
    it("knows every endpoint of the specification", () => {
      const tags: ReadonlyArray<readonly [string, string, string, Route.Route["_tag"]]> = [
        ["GET", "/v2/", "", "Base"],
        ["GET", "/v2", "", "Base"],
        ["GET", "/v2/_catalog", "", "Catalog"],
        ["GET", "/v2/a/tags/list", "", "TagList"],
        ["GET", `/v2/a/blobs/${digest}`, "", "BlobGet"],
        ["HEAD", `/v2/a/blobs/${digest}`, "", "BlobGet"],
        ["DELETE", `/v2/a/blobs/${digest}`, "", "BlobDelete"],
        ["POST", "/v2/a/blobs/uploads/", "", "UploadStart"],
        ["POST", "/v2/a/blobs/uploads", "", "UploadStart"],
        ["GET", `/v2/a/blobs/uploads/${id}`, "", "UploadStatus"],
        ["PATCH", `/v2/a/blobs/uploads/${id}`, "", "UploadAppend"],
        ["PUT", `/v2/a/blobs/uploads/${id}`, `digest=${digest}`, "UploadFinish"],
        ["DELETE", `/v2/a/blobs/uploads/${id}`, "", "UploadCancel"],
        ["GET", "/v2/a/manifests/1.0", "", "ManifestGet"],
        ["HEAD", "/v2/a/manifests/1.0", "", "ManifestGet"],
        ["PUT", "/v2/a/manifests/1.0", "", "ManifestPut"],
        ["DELETE", "/v2/a/manifests/1.0", "", "ManifestDelete"],
        ["GET", `/v2/a/referrers/${digest}`, "", "Referrers"]
      ]
      for (const [method, path, query, tag] of tags) {
        assert.strictEqual(Route.parse(method, path, query)._tag, tag, `${method} ${path}`)
      }
    })

    it("takes everything before the noun as the name, also parts that are called like nouns", () => {
      has(Route.parse("GET", "/v2/blobs/uploads/manifests/1"), { _tag: "ManifestGet", name: "blobs/uploads" })
      has(Route.parse("GET", "/v2/tags/list/tags/list"), { _tag: "TagList", name: "tags/list" })
      has(Route.parse("GET", `/v2/a/manifests/blobs/${digest}`), { _tag: "BlobGet", name: "a/manifests" })
      has(Route.parse("POST", "/v2/blobs/uploads/blobs/uploads/"), { _tag: "UploadStart", name: "blobs/uploads" })
      has(Route.parse("GET", "/v2/a/b/c/d/e/manifests/latest"), { name: "a/b/c/d/e" })
    })

    it("tells tags from digests", () => {
      has(Route.parse("GET", "/v2/a/manifests/v1"), { reference: { _tag: "Tag", tag: "v1" } })
      has(Route.parse("GET", `/v2/a/manifests/${digest}`), { reference: { _tag: "Digest", digest } })
      has(Route.parse("GET", `/v2/a/manifests/${digest.replace(":", "%3A")}`), {
        reference: { _tag: "Digest", digest }
      })
    })

    it("reads n and last", () => {
      has(Route.parse("GET", "/v2/a/tags/list", "n=2&last=b%2Bc"), { page: { n: 2, last: "b+c" } })
      has(Route.parse("GET", "/v2/_catalog", "n=0"), { page: { n: 0, last: undefined } })
      has(Route.parse("GET", "/v2/_catalog", "n=9999999999"), { page: { n: 9_999_999_999, last: undefined } })
      for (const n of ["-1", "x", "1.5", "", "9".repeat(21)]) {
        assert.deepEqual(refused("GET", "/v2/_catalog", `n=${n}`), { code: "UNSUPPORTED", status: 400 })
      }
    })

    it("reads what an upload starts with", () => {
      has(Route.parse("POST", "/v2/a/blobs/uploads/", `mount=${digest}&from=b/c`), { mount: { digest, from: "b/c" } })
      has(Route.parse("POST", "/v2/a/blobs/uploads/", `digest=${digest}`), { digest, algorithm: "sha256" })
      has(Route.parse("POST", "/v2/a/blobs/uploads/", "digest-algorithm=sha512"), { algorithm: "sha512" })
      has(Route.parse("POST", "/v2/a/blobs/uploads/", `mount=${digest}`), { mount: { digest, from: undefined } })
      assert.deepEqual(refused("POST", "/v2/a/blobs/uploads/", "digest-algorithm=md5"), {
        code: "DIGEST_INVALID",
        status: 400
      })
    })

    it("reads the tags of a push by digest, each once, and none of a push by tag", () => {
      const put = (reference: string, query: string) => Route.parse("PUT", `/v2/a/manifests/${reference}`, query)
      has(put(digest, "tag=1&tag=1.2&tag=1"), { _tag: "ManifestPut", tags: ["1", "1.2"] })
      has(put(digest, ""), { tags: [] })
      has(put("1", "tag=2"), { reference: { _tag: "Tag", tag: "1" }, tags: [] })
    })

    it("refuses a push with a tag outside the grammar, and one with too many", () => {
      const path = `/v2/a/manifests/${digest}`
      for (const tag of ["", ".x", "a%2Fb", "a".repeat(129)]) {
        assert.deepEqual(refused("PUT", path, `tag=ok&tag=${tag}`), { code: "TAG_INVALID", status: 400 }, tag)
      }
      const many = (count: number) => Array.from({ length: count }, (_, index) => `tag=t${index}`).join("&")
      assert.deepEqual(refused("PUT", path, many(Route.maxTags + 1)), { code: "UNSUPPORTED", status: 414 })
      has(Route.parse("PUT", path, many(Route.maxTags)), { _tag: "ManifestPut" })
    })

    it("takes a mount that cannot be done for an ordinary upload", () => {
      for (const query of [`mount=${digest}&from=../b`, "mount=sha256:12&from=b", "mount=x"]) {
        has(Route.parse("POST", "/v2/a/blobs/uploads/", query), { _tag: "UploadStart", mount: undefined })
      }
    })

    it("keeps the plus of a media type", () => {
      has(Route.parse("GET", `/v2/a/referrers/${digest}`, "artifactType=application/x+json"), {
        artifactType: "application/x+json"
      })
    })

    it("refuses names outside the grammar", () => {
      const names = [
        "..",
        "../a",
        "a/../b",
        "a//b",
        "A",
        "a_",
        "-a",
        "_a",
        ".a",
        "a b",
        "a%2fb",
        "a%5cb",
        "a%00",
        "%2e%2e",
        ""
      ]
      for (const name of [...names, "a".repeat(256), "x/".repeat(5000)]) {
        const answer = refused("GET", `/v2/${name}/manifests/1`)
        assert.deepEqual(answer, { code: "NAME_INVALID", status: 400 }, name)
      }
      assert.deepEqual(refused("GET", "/v2/%E0%A4%A/manifests/1"), { code: "NAME_INVALID", status: 400 })
    })

    it("refuses digests, tags and upload ids outside the grammar", () => {
      assert.deepEqual(refused("GET", "/v2/a/blobs/sha256:abc"), { code: "DIGEST_INVALID", status: 400 })
      assert.deepEqual(refused("GET", `/v2/a/blobs/${digest.toUpperCase()}`), { code: "DIGEST_INVALID", status: 400 })
      assert.deepEqual(refused("PUT", `/v2/a/blobs/uploads/${id}`), { code: "DIGEST_INVALID", status: 400 })
      assert.deepEqual(refused("PUT", "/v2/a/manifests/.x"), { code: "TAG_INVALID", status: 400 })
      assert.deepEqual(refused("GET", "/v2/a/manifests/.x"), { code: "MANIFEST_UNKNOWN", status: 404 })
      assert.deepEqual(refused("GET", "/v2/a/blobs/uploads/..%2f..%2fx"), { code: "BLOB_UPLOAD_UNKNOWN", status: 404 })
    })

    it("answers 404 to other paths and 405 with Allow to other methods", () => {
      for (const path of ["/", "/v1/", "/v2x", "/v2/a", "/v2/a/tags", "/v2/a/tags/list/x", "http://x/v2/", "*"]) {
        assert.deepEqual(refused("GET", path), { code: "UNSUPPORTED", status: 404 }, path)
      }
      const route = Route.parse("POST", "/v2/a/manifests/1")
      assert.deepInclude(route._tag === "Invalid" ? route.error : {}, {
        status: 405,
        headers: { allow: "GET, HEAD, PUT, DELETE" }
      })
      assert.deepInclude(refused("constructor", "/v2/"), { status: 405 })
    })

    it("never lets a dot-dot or a slash of one segment into a name", () => {
      const piece = FastCheck.oneof(
        FastCheck.constantFrom(
          "..",
          ".",
          "%2e%2e",
          "%2F",
          "a",
          "blobs",
          "uploads",
          "manifests",
          "tags",
          "list",
          "\0",
          "%00",
          "\\"
        ),
        FastCheck.string()
      )
      FastCheck.assert(
        FastCheck.property(
          FastCheck.array(piece, { maxLength: 8 }),
          FastCheck.constantFrom("GET", "PUT", "POST"),
          (pieces, method) => {
            const route = Route.parse(method, `/v2/${pieces.join("/")}`, "")
            if ("name" in route) assert.match(route.name, /^[a-z0-9]+([._/-]+[a-z0-9]+)*$/)
            if ("name" in route) assert.notMatch(route.name, /\.\.|\/\//)
          }
        ),
        { numRuns: 2000 }
      )
    })
  })
})
