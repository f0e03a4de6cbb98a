import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { pushBlob, pushImage, pushParts, putManifest, random, send, uniqueName } from "../support.js"
import { nextOf, refusal, section, specification } from "./specification.js"

/** In the order of their bytes, capitals before small letters. */
const tags = ["0", "1.0", "10", "A", "Z", "_x", "a", "b"]

/** A repository with these tags, pushed in another order. */
const tagged = Effect.gen(function* () {
  const name = uniqueName()
  const { text } = yield* pushParts(name)
  for (const tag of ["b", ...tags.slice(0, -1)]) yield* putManifest(name, tag, text)
  return name
})

const list = (name: string, query = "") =>
  Effect.map(send("GET", `/v2/${name}/tags/list${query}`), (answer) => {
    assert.strictEqual(answer.status, 200, answer.text)
    const body: { readonly tags: ReadonlyArray<string> } = JSON.parse(answer.text)
    return { tags: body.tags, next: nextOf(answer), link: answer.headers.get("link") }
  })

specification("Content discovery: tags", (it) => {
  section("Listing Tags", () => {
    it.effect("answers 200 with the name and all tags, as JSON, in the order of their bytes", () =>
      Effect.gen(function* () {
        const name = yield* tagged
        const answer = yield* send("GET", `/v2/${name}/tags/list`)
        assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, "application/json"])
        assert.deepEqual(JSON.parse(answer.text), { name, tags })
        assert.isNull(answer.headers.get("link"))
      })
    )

    it.effect("answers an empty list where a repository has no tags", () =>
      Effect.gen(function* () {
        const [name, other] = [uniqueName(), uniqueName()]
        yield* pushBlob(name, random(10))
        yield* pushImage(other, "t")
        yield* send("DELETE", `/v2/${other}/manifests/t`)
        assert.deepEqual((yield* list(name)).tags, [])
        assert.deepEqual((yield* list(other)).tags, [])
      })
    )

    it.effect("answers exactly n tags where there are as many, from the first on, and all where there are fewer", () =>
      Effect.gen(function* () {
        const name = yield* tagged
        for (const n of [1, 3, tags.length, tags.length + 1, 100_000, 99_999_999_999]) {
          assert.deepEqual((yield* list(name, `?n=${n}`)).tags, tags.slice(0, n), String(n))
        }
      })
    )

    it.effect("links to the next page where more follow, and only there", () =>
      Effect.gen(function* () {
        const name = yield* tagged
        for (const n of [1, 3, 4, tags.length]) {
          const found: Array<ReadonlyArray<string>> = []
          let next: string | undefined = `/v2/${name}/tags/list?n=${n}`
          while (next !== undefined && found.length < 10) {
            const [path = "", query = ""]: ReadonlyArray<string> = next.split("/tags/list")
            assert.strictEqual(path, `/v2/${name}`)
            const page: { readonly tags: ReadonlyArray<string>; readonly next: string | undefined } = yield* list(
              name,
              query
            )
            found.push(page.tags)
            next = page.next
          }
          assert.deepEqual(found.flat(), tags)
          assert.strictEqual(found.length, Math.ceil(tags.length / n))
        }
      })
    )

    it.effect("answers n=0 with an empty list and no Link", () =>
      Effect.gen(function* () {
        const name = yield* tagged
        for (const query of ["?n=0", "?n=0&last=a"]) {
          assert.deepEqual(yield* list(name, query), { tags: [], next: undefined, link: null })
        }
      })
    )

    it.effect("answers the tags after last, n of them at most, or all without n", () =>
      Effect.gen(function* () {
        const name = yield* tagged
        assert.deepEqual((yield* list(name, "?n=2&last=10")).tags, ["A", "Z"])
        assert.deepEqual((yield* list(name, "?last=Z")).tags, ["_x", "a", "b"])
        assert.deepEqual((yield* list(name, "?last=b")).tags, [])
      })
    )

    it.effect("goes on after a last that is no longer there", () =>
      Effect.gen(function* () {
        const name = yield* tagged
        assert.deepEqual((yield* list(name, "?n=2&last=B")).tags, ["Z", "_x"])
      })
    )

    it.effect("answers 400 to an n that is no number, and 404 for a repository that is not there", () =>
      Effect.gen(function* () {
        const name = yield* tagged
        for (const n of ["x", "-1", "1.5", ""]) {
          assert.deepEqual(refusal(yield* send("GET", `/v2/${name}/tags/list?n=${n}`)), [400, "UNSUPPORTED"], n)
        }
        assert.deepEqual(refusal(yield* send("GET", `/v2/${uniqueName()}/tags/list`)), [404, "NAME_UNKNOWN"])
      })
    )
  })
})
