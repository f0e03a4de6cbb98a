import { assert } from "@effect/vitest"
import { MediaType } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import {
  digestOf,
  openSocket,
  pushBlob,
  pushImage,
  pushParts,
  putManifest,
  random,
  readSocket,
  send,
  startUpload,
  uniqueName
} from "../support.js"
import { follow, refusal, section, specification } from "./specification.js"

/** The codes of the specification's table, and the one of older registries that it mentions. */
const codes =
  "BLOB_UNKNOWN BLOB_UPLOAD_INVALID BLOB_UPLOAD_UNKNOWN DIGEST_INVALID MANIFEST_BLOB_UNKNOWN MANIFEST_INVALID MANIFEST_UNKNOWN NAME_INVALID NAME_UNKNOWN SIZE_INVALID UNAUTHORIZED DENIED UNSUPPORTED TOOMANYREQUESTS TAG_INVALID"

/** One of every kind of refusal that a request can meet. */
const refused = Effect.gen(function* () {
  const name = uniqueName()
  const { digest, text } = yield* pushImage(name)
  const absent = digestOf("absent")
  const location = yield* startUpload(name)
  const layer = { mediaType: MediaType.ociLayer, digest: absent, size: 1 }
  return yield* Effect.all([
    send("GET", `/v2/${name}/blobs/${absent}`),
    send("GET", `/v2/${name}/blobs/sha256:1`),
    send("GET", `/v2/${name}/manifests/absent`),
    send("GET", "/v2/A/manifests/x"),
    send("GET", `/v2/${uniqueName()}/tags/list`),
    send("GET", `/v2/${name}/tags/list?n=x`),
    send("GET", "/v2/nothing"),
    send("POST", `/v2/${name}/tags/list`),
    send("PUT", `${location}?digest=${absent}`, { body: random(5) }),
    send("PATCH", yield* startUpload(name), { body: random(5), headers: { "content-range": "5-9" } }),
    send("PATCH", yield* startUpload(name), { body: random(5), headers: { "content-range": "0-9" } }),
    send("PATCH", `/v2/${name}/blobs/uploads/01234567-89ab-cdef-0123-456789abcdef`, { body: random(5) }),
    putManifest(name, "t", "{"),
    putManifest(name, "-", text),
    putManifest(name, "t", text.replace(/"layers":\[/, `"layers":[${JSON.stringify(layer)},`)),
    send("DELETE", `/v2/${name}/manifests/${digest}`, { headers: { "if-match": '"x"' } })
  ])
})

specification("API", (it) => {
  section("Determining Support", () => {
    it.effect("answers 200 at /v2/, with Docker's version header, and without the slash too", () =>
      Effect.gen(function* () {
        for (const path of ["/v2/", "/v2"]) {
          for (const method of ["GET", "HEAD"]) {
            const answer = yield* send(method, path)
            assert.strictEqual(answer.status, 200)
            assert.strictEqual(answer.headers.get("docker-distribution-api-version"), "registry/2.0")
          }
        }
      })
    )
  })

  section("Error Codes", () => {
    it.effect("refuses in JSON of the specified form, with a code of the specified list and a message", () =>
      Effect.gen(function* () {
        for (const answer of yield* refused) {
          assert.isAtLeast(answer.status, 400)
          assert.isBelow(answer.status, 500, answer.text)
          assert.strictEqual(answer.headers.get("content-type"), "application/json")
          const body: { readonly errors: ReadonlyArray<object> } = JSON.parse(answer.text)
          assert.deepEqual(Object.keys(body), ["errors"])
          assert.isNotEmpty(body.errors)
          for (const { code, message, ...rest } of body.errors as ReadonlyArray<Record<string, unknown>>) {
            assert.include(codes.split(" "), code)
            assert.match(String(message), /^\S.{5,200}$/)
            assert.includeMembers(["detail"], Object.keys(rest))
          }
        }
      })
    )
  })

  section("Warnings", () => {
    it.effect("sends none", () =>
      Effect.gen(function* () {
        for (const answer of yield* refused) assert.isNull(answer.headers.get("warning"))
      })
    )
  })

  // "Where this specification does not define specific behavior, implementations SHOULD follow the HTTP semantics defined in RFC 9110."
  section("API", () => {
    it.effect("answers 405 with Allow to a method that an endpoint does not take", () =>
      Effect.gen(function* () {
        const digest = digestOf("x")
        for (const [method, path, allow] of [
          ["POST", "/v2/", "GET, HEAD"],
          ["DELETE", "/v2/_catalog", "GET, HEAD"],
          ["OPTIONS", "/v2/a/tags/list", "GET, HEAD"],
          ["PUT", `/v2/a/blobs/${digest}`, "GET, HEAD, DELETE"],
          ["POST", "/v2/a/manifests/t", "GET, HEAD, PUT, DELETE"],
          ["GET", "/v2/a/blobs/uploads/", "POST"],
          ["POST", "/v2/a/blobs/uploads/01234567-89ab-cdef-0123-456789abcdef", "GET, HEAD, PATCH, PUT, DELETE"],
          ["DELETE", `/v2/a/referrers/${digest}`, "GET, HEAD"]
        ] as const) {
          const answer = yield* send(method, path)
          assert.deepEqual(refusal(answer), [405, "UNSUPPORTED"], path)
          assert.strictEqual(answer.headers.get("allow"), allow)
        }
      })
    )

    it.effect("answers 304 under If-None-Match to who has a blob or manifest, and 200 to others", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, layer } = yield* pushImage(name)
        for (const path of [`blobs/${layer.digest}`, "manifests/1.0", `manifests/${digest}`]) {
          for (const method of ["GET", "HEAD"]) {
            const ask = (condition: string) =>
              send(method, `/v2/${name}/${path}`, { headers: { "if-none-match": condition } })
            const tag = (yield* send("HEAD", `/v2/${name}/${path}`)).headers.get("etag") ?? ""
            for (const condition of [tag, `W/${tag}`, `"x", ${tag}`, "*"]) {
              const answer = yield* ask(condition)
              assert.deepEqual([answer.status, answer.bytes.length, answer.headers.get("etag")], [304, 0, tag])
            }
            assert.strictEqual((yield* ask('"x"')).status, 200)
          }
        }
        const absent = yield* send("GET", `/v2/${name}/manifests/absent`, { headers: { "if-none-match": "*" } })
        assert.strictEqual(absent.status, 404)
      })
    )

    it.effect("answers 412 under If-Match to who wants another version than there is", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, layer } = yield* pushImage(name)
        for (const [path, tag] of [
          [`blobs/${layer.digest}`, layer.digest],
          ["manifests/1.0", digest]
        ] as const) {
          const ask = (condition: string) => send("GET", `/v2/${name}/${path}`, { headers: { "if-match": condition } })
          for (const condition of ['"x"', `W/"${tag}"`]) {
            assert.deepEqual(refusal(yield* ask(condition)), [412, "DENIED"], condition)
          }
          for (const condition of [`"${tag}"`, "*"]) assert.strictEqual((yield* ask(condition)).status, 200)
        }
      })
    )

    it.effect("pushes a manifest under If-Match only over the version named", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const [first, second] = [yield* pushParts(name), yield* pushParts(name)]
        const put = (text: string, condition: string) =>
          send("PUT", `/v2/${name}/manifests/t`, {
            body: text,
            headers: { "content-type": MediaType.ociManifest, "if-match": condition }
          })
        for (const condition of ["*", `"${first.digest}"`]) {
          assert.deepEqual(refusal(yield* put(first.text, condition)), [412, "DENIED"], condition)
        }
        yield* putManifest(name, "t", first.text)
        assert.strictEqual((yield* put(second.text, `"${second.digest}"`)).status, 412)
        assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/t`)).text, first.text)
        assert.strictEqual((yield* send("HEAD", `/v2/${name}/manifests/${second.digest}`)).status, 404)
        assert.strictEqual((yield* put(second.text, `"${first.digest}"`)).status, 201)
        assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/t`)).text, second.text)
      })
    )

    it.effect("pushes a manifest under If-None-Match: * only where there is none, once of many at a time", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const images = yield* Effect.forEach([1, 2, 3, 4, 5], () => pushParts(name))
        const answers = yield* Effect.forEach(
          images,
          ({ text }) =>
            send("PUT", `/v2/${name}/manifests/t`, {
              body: text,
              headers: { "content-type": MediaType.ociManifest, "if-none-match": "*" }
            }),
          { concurrency: "unbounded" }
        )
        assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 412, 412, 412, 412])
        const winner = images[answers.findIndex(({ status }) => status === 201)]
        assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/t`)).text, winner?.text)
      })
    )

    it.effect("deletes under If-Match only the version named", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushImage(name, "t")
        const remove = (reference: string, condition: string) =>
          send("DELETE", `/v2/${name}/manifests/${reference}`, { headers: { "if-match": condition } })
        assert.strictEqual((yield* remove("t", '"x"')).status, 412)
        assert.strictEqual((yield* remove("absent", "*")).status, 404)
        assert.strictEqual((yield* remove("t", `"${digest}"`)).status, 202)
        assert.strictEqual((yield* remove(digest, `"${digest}"`)).status, 202)
      })
    )

    it.scoped("takes a body with a GET and a DELETE, and goes on with the next request of the connection", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        yield* pushImage(name, "t")
        const socket = yield* openSocket
        const request = (method: string, path: string, more = "") =>
          `${method} ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n${more}\r\nhello`
        socket.write(request("GET", `/v2/${name}/tags/list`))
        socket.write(request("DELETE", `/v2/${name}/manifests/t`))
        socket.write(request("GET", "/v2/", "connection: close\r\n"))
        const text = yield* readSocket(socket, "never sent")
        assert.deepEqual(text.match(/HTTP\/1\.1 [0-9]+/g), ["HTTP/1.1 200", "HTTP/1.1 202", "HTTP/1.1 200"])
      })
    )

    it.scoped("asks for a body that is held back, and takes it", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushParts(name)
        const location = yield* startUpload(name)
        const bytes = random(100_000)
        for (const [method, path, body] of [
          ["PATCH", location, bytes.subarray(0, 60_000)],
          ["PUT", `${location}?digest=${digestOf(bytes)}`, bytes.subarray(60_000)],
          ["POST", `/v2/${name}/blobs/uploads/?digest=${digestOf("x")}`, Buffer.from("x")],
          ["PUT", `/v2/${name}/manifests/t`, Buffer.from(text)]
        ] as const) {
          const socket = yield* openSocket
          socket.write(
            `${method} ${path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`
          )
          assert.match(yield* readSocket(socket, "\r\n\r\n"), /^HTTP\/1\.1 100 /, `${method} ${path}`)
          socket.write(body)
          assert.match(yield* readSocket(socket, "never sent"), /HTTP\/1\.1 20[12] /, `${method} ${path}`)
        }
        assert.strictEqual((yield* send("HEAD", `/v2/${name}/blobs/${digestOf(bytes)}`)).status, 200)
      })
    )

    it.scoped("refuses before it asks for a body that it will not take, and closes the connection", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const location = yield* startUpload(name)
        for (const [status, method, path, header] of [
          [404, "PATCH", location.replace(/[0-9a-f]{12}$/, "000000000000"), ""],
          [404, "PUT", `${location.replace(/[0-9a-f]{12}$/, "000000000000")}?digest=${digestOf("x")}`, ""],
          [416, "PATCH", location, "content-range: 10-19\r\n"],
          [400, "PUT", `${location}?digest=sha256:1`, ""],
          [400, "POST", `/v2/${name}/blobs/uploads/?digest=sha256:1`, ""],
          [413, "PUT", `/v2/${name}/manifests/t`, "content-length: 99999999\r\n"],
          [400, "PUT", `/v2/${name}/manifests/.t`, ""]
        ] as const) {
          const socket = yield* openSocket
          const length = header.startsWith("content-length") ? "" : "content-length: 10\r\n"
          socket.write(`${method} ${path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n${length}${header}\r\n`)
          const text = yield* readSocket(socket, "never sent")
          assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `), `${method} ${path}`)
        }
      })
    )
  })

  section("Endpoints", () => {
    it.effect("names places as paths that work wherever the registry is reached", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(10)
        const start = yield* send("POST", `/v2/${name}/blobs/uploads/`)
        const end = yield* send("PUT", `${start.headers.get("location")}?digest=${digestOf(bytes)}`, { body: bytes })
        const { text } = yield* pushParts(name)
        const manifest = yield* putManifest(name, "t", text)
        for (const answer of [start, end, manifest]) assert.match(answer.headers.get("location") ?? "", /^\/v2\//)
        for (const answer of [end, manifest]) yield* follow(answer)
        yield* pushBlob(name, bytes)
      })
    )
  })
})
