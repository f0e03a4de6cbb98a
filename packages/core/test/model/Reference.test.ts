import { assert, describe, it } from "@effect/vitest"
import { Digest, Reference, type ValidationError } from "@effect-registry/core"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as fc from "fast-check"

const digest = Digest.fromBytes(new Uint8Array())
const parts = (text: string) => {
  const reference = Either.getOrThrow(Reference.parse(text))
  return [
    Option.getOrUndefined(reference.host),
    reference.repository,
    Option.getOrUndefined(reference.tag),
    Option.getOrUndefined(reference.digest)
  ]
}
const failure = <A>(result: Either.Either<A, ValidationError>): ValidationError =>
  Either.getOrThrow(Either.flip(result))

describe("Reference", () => {
  describe("parse", () => {
    it.each<[string, string | undefined, string, string | undefined, string | undefined]>([
      ["app", undefined, "app", undefined, undefined],
      ["app:1.0", undefined, "app", "1.0", undefined],
      ["team/app", undefined, "team/app", undefined, undefined],
      ["localhost:5000", undefined, "localhost", "5000", undefined],
      ["localhost:5000/app", "localhost:5000", "app", undefined, undefined],
      ["localhost/app", "localhost", "app", undefined, undefined],
      ["localhost:15000/team/app:1.0", "localhost:15000", "team/app", "1.0", undefined],
      ["registry.example/a/b/c:V_1.x-y", "registry.example", "a/b/c", "V_1.x-y", undefined],
      ["Registry.Example/app", "registry.example", "app", undefined, undefined],
      ["Team/app", "team", "app", undefined, undefined],
      ["127.0.0.1:5000/app", "127.0.0.1:5000", "app", undefined, undefined],
      ["[::1]:5000/app:1", "[::1]:5000", "app", "1", undefined],
      ["[2001:DB8::1]/app", "[2001:db8::1]", "app", undefined, undefined],
      ["a.b/c.d/e__f/g---h/i_j", "a.b", "c.d/e__f/g---h/i_j", undefined, undefined],
      [`app@${digest}`, undefined, "app", undefined, digest],
      [`h:1/app:1@${digest}`, "h:1", "app", "1", digest]
    ])("reads %s", (text, ...expected) => {
      assert.deepStrictEqual(parts(text), expected)
    })

    it.each([
      ["docker.io/app", "library/app"],
      ["docker.io/library/app", "library/app"],
      ["index.docker.io/app", "library/app"],
      ["registry-1.docker.io/app", "library/app"],
      ["Docker.IO/team/app", "team/app"]
    ])("takes %s for Docker Hub's %s", (text, repository) => {
      assert.deepStrictEqual(parts(text).slice(0, 2), ["docker.io", repository])
    })

    it.each<[string, number | undefined, RegExp]>([
      ["", undefined, /is empty/],
      ["App:1", 1, /lower case/],
      ["team/App", 6, /lower case/],
      ["a.b/team/aPp:x", 11, /lower case/],
      ["/app", 1, /no empty component/],
      ["a//b", 3, /no empty component/],
      ["a/b/", 5, /no empty component/],
      ["a.b/", 5, /name is missing/],
      [":1", 1, /name is missing/],
      ["app:", 5, /tag is empty/],
      ["app:-x", 5, /a tag starts with/],
      ["app:.x", 5, /a tag starts with/],
      ["app:a+b", 6, /"\+" is not allowed in a tag/],
      ["app:1:2", 6, /":" is not allowed in a tag/],
      ["a b", 2, /" " is not allowed/],
      ["앱/x", 1, /"앱" is not allowed/],
      ["a/💥", 3, /"💥" is not allowed/],
      ["-app", 1, /must start and end/],
      ["app-", 4, /must start and end/],
      ["a..b", 2, /must start and end/],
      ["x/a___b", 4, /must start and end/],
      ["a.-b", 2, /must start and end/],
      ["ab_.", 3, /must start and end/],
      ["app@", 5, /ALGORITHM:HEX/],
      ["app@sha256", 5, /ALGORITHM:HEX/],
      ["app@md5:00", 5, /"md5" is not sha256 or sha512/],
      ["app@sha256:00", 14, /64 hex digits, this has 2/],
      [`app@sha256:${"A".repeat(64)}`, 12, /lower-case hex/],
      [`app@sha256:${"0".repeat(63)}g`, 75, /lower-case hex/],
      [`app@${digest}@${digest}`, 76, /lower-case hex/],
      ["http://localhost:5000/app", 1, /without http:\/\//],
      ["a_b.c/app", 2, /not a host name/],
      ["-a.b/app", 1, /not a host name/],
      ["a-.b/app", 2, /not a host name/],
      ["a..b/app", 3, /not a host name/],
      ["localhost:/app", 11, /no port/],
      ["localhost:0/app", 11, /no port/],
      ["localhost:65536/app", 11, /no port/],
      ["localhost:1.0/app", 11, /"1.0" is no port/],
      ["localhost:5000:1/app", 11, /no port/],
      ["[::1/app", 1, /IPv6/],
      ["[::x]/app", 1, /IPv6/],
      ["[1:2]/app", 1, /IPv6/],
      ["[::1]5000/app", 6, /only a port/]
    ])("points at what is wrong in %j", (text, position, rule) => {
      const error = failure(Reference.parse(text))
      assert.strictEqual(error.reason, "InvalidReference")
      assert.match(error.message, rule)
      assert.strictEqual(/character (\d+): /.exec(error.message)?.[1], position?.toString())
      assert.include(error.message, JSON.stringify(text))
    })

    it("takes 255 characters of repository and 128 of tag, and says how many are too many", () => {
      const repository = "a".repeat(255)
      const tag = "t".repeat(128)
      assert.deepStrictEqual(parts(`h.x/${repository}:${tag}`).slice(1, 3), [repository, tag])
      assert.match(
        failure(Reference.parse(`h.x/${repository}a`)).message,
        /character 260: .*255 characters, this has 256/
      )
      assert.match(failure(Reference.parse(`a:${tag}t`)).message, /character 131: .*128 characters, this has 129/)
    })

    it("counts the library/ of Docker Hub", () => {
      assert.isTrue(Either.isRight(Reference.parse(`docker.io/${"a".repeat(247)}`)))
      assert.match(failure(Reference.parse(`docker.io/${"a".repeat(248)}`)).message, /this has 256/)
    })

    it("does not repeat a password that was typed in front of a host", () => {
      for (const text of [
        "https://ann:hunter2@r.example/app:1",
        "docker://ann:hunter2@r.example/app",
        "ann:hunter2@r.example/app",
        "ann:hunter2@r.example:5000/app"
      ]) {
        const error = Either.getOrThrow(Either.flip(Reference.parse(text)))
        assert.notInclude(error.message, "hunter2", text)
      }
      const digest = Either.getOrThrow(Either.flip(Reference.parse("app:1@sha256:abc")))
      assert.include(digest.message, "app:1@sha256:abc")
    })
    it("does not repeat a huge text in its error", () => {
      assert.isBelow(failure(Reference.parse(`A${"a".repeat(1_000_000)}`)).message.length, 2000)
    })
  })

  describe("format", () => {
    it("gives what parse reads back as the same reference", () => {
      fc.assert(
        fc.property(reference, (value) => {
          assert.deepStrictEqual(Either.getOrThrow(Reference.parse(Reference.format(value))), value)
        })
      )
    })

    it("keeps a host that only a capital tells from a name", () => {
      const parsed = Either.getOrThrow(Reference.parse("Z1/a"))
      assert.strictEqual(Reference.format(parsed), "Z1/a")
    })
    it("is stable on whatever parse accepts, and parse throws on nothing", () => {
      const alphabet = fc.constantFrom(..."aZ0._-/:@[]% \u0000é💥", "sha256:", "localhost", "docker.io/", digest)
      fc.assert(
        fc.property(fc.array(alphabet, { maxLength: 12 }), (pieces) => {
          const result = Reference.parse(pieces.join(""))
          if (Either.isRight(result)) {
            assert.deepStrictEqual(Either.getOrThrow(Reference.parse(Reference.format(result.right))), result.right)
          }
        }),
        { numRuns: 500 }
      )
    })
  })

  describe("parseRepository", () => {
    it("takes a name without tag", () => {
      assert.strictEqual(Either.getOrThrow(Reference.parseRepository("h:1/a/b")).repository, "a/b")
    })

    it.each([
      ["h:1/a/b:1", 8, /without a tag/],
      ["app:1", 4, /without a tag/],
      [`h:1/a@${digest}`, 6, /without a digest/],
      [`h:1/a:1@${digest}`, 6, /without a tag/]
    ])("points at what is too much in %s", (text, position, rule) => {
      const error = failure(Reference.parseRepository(text))
      assert.match(error.message, rule)
      assert.include(error.message, `character ${position}:`)
    })
  })

  describe("parseTag", () => {
    it("takes a tag and nothing else", () => {
      assert.strictEqual(Either.getOrThrow(Reference.parseTag("_1.0-rc")), "_1.0-rc")
      assert.strictEqual(failure(Reference.parseTag("a/b")).reason, "InvalidReference")
    })
  })

  describe("identifier", () => {
    it.each([
      ["app", "latest"],
      ["app:1", "1"],
      [`app:1@${digest}`, digest]
    ])("of %s is %s", (text, expected) => {
      assert.strictEqual(Reference.identifier(Either.getOrThrow(Reference.parse(text))), expected)
    })
  })
})

const component = fc.stringMatching(/^[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}$/)
const host = fc.oneof(
  fc.constantFrom("localhost", "localhost:5000", "127.0.0.1", "[::1]:5000", "docker.io"),
  fc.stringMatching(/^[a-z0-9]{1,5}(?:-[a-z0-9]{1,5})?\.[a-z]{2,5}(?::[1-9][0-9]{0,3})?$/)
)
const reference: fc.Arbitrary<Reference.Reference> = fc
  .record({
    host: fc.option(host, { nil: undefined }),
    repository: fc.array(component, { minLength: 1, maxLength: 4 }).map((list) => list.join("/")),
    tag: fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/), { nil: undefined }),
    digest: fc.option(
      fc.uint8Array().map((bytes) => Digest.fromBytes(bytes)),
      { nil: undefined }
    )
  })
  .map(({ digest, host, repository, tag }) => ({
    host: Option.fromNullable(host),
    repository: host === "docker.io" ? Reference.hubRepository(repository) : repository,
    tag: Option.fromNullable(tag),
    digest: Option.fromNullable(digest)
  }))
  // Without a host the first component must not look like one.
  .filter(({ host, repository }) => Option.isSome(host) || !/^(?:[^/]*\.|localhost\/)/.test(repository))
