import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { inspect } from "node:util"
import { describe, expect, it } from "@effect/vitest"
import { Credentials } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as DockerConfig from "../src/DockerConfig.js"
import { auth, bob, home, keeping, program, secret } from "./credentials.js"

const host = "registry.example:5000"
const hub = "docker.io"
const user = (name: string) => Credentials.password(name, Redacted.make("x"))

/** What a document's credential for a host, and repository, is. */
const findIn = (document: unknown, at: string, repository?: string) =>
  Effect.gen(function* () {
    const folder = yield* home
    folder.write(document)
    return yield* DockerConfig.service(folder).find(at, Option.fromNullable(repository))
  })

const named = (found: Option.Option<Credentials.Credential>) =>
  Option.map(found, (credential) => (credential._tag === "Password" ? credential.username : credential._tag))

const mode = (path: string): number => statSync(path).mode & 0o777

describe("DockerConfig", () => {
  describe("paths", () => {
    it("names Docker's file, then Podman's", () => {
      const environment = { HOME: "/home/me", XDG_RUNTIME_DIR: "/run/user/1" }
      expect(DockerConfig.paths({ environment })).toEqual([
        "/home/me/.docker/config.json",
        "/run/user/1/containers/auth.json",
        "/home/me/.config/containers/auth.json"
      ])
      expect(DockerConfig.paths({ environment: { DOCKER_CONFIG: "/d", XDG_CONFIG_HOME: "/c" } })).toEqual([
        "/d/config.json",
        "/c/containers/auth.json"
      ])
      expect(DockerConfig.paths({ environment: {} })).toEqual([])
    })
    it("names one file alone where the user does, an option before REGISTRY_AUTH_FILE", () => {
      const environment = { HOME: "/home/me", REGISTRY_AUTH_FILE: "/a.json" }
      expect(DockerConfig.paths({ environment })).toEqual(["/a.json"])
      expect(DockerConfig.paths({ environment, authFile: "b.json" })).toEqual(["b.json"])
    })
  })

  describe("service", () => {
    const forms: ReadonlyArray<readonly [key: string, at: string]> = [
      [host, host],
      [`https://${host}`, host],
      [`https://${host}/v1/`, host],
      [`http://${host}/v2/`, host],
      [`${host}/v1/`, host],
      [`${host}/`, host],
      ["https://Registry.EXAMPLE:5000/v1/", host],
      ["https://index.docker.io/v1/", hub],
      ["index.docker.io", hub],
      ["docker.io", hub],
      ["registry-1.docker.io", hub]
    ]
    for (const [key, at] of forms) {
      it.scopedLive(`finds ${at} under ${key}`, () =>
        Effect.gen(function* () {
          const document = { auths: { other: { auth: auth("no", "x") }, [key]: { auth: auth("bob", secret) } } }
          expect(yield* findIn(document, at, "team/app")).toEqual(Option.some(bob))
          expect(yield* findIn(document, at)).toEqual(Option.some(bob))
          expect(yield* findIn(document, `x${at}`)).toEqual(Option.none())
          expect(yield* findIn(document, "other.example")).toEqual(Option.none())
        })
      )
    }

    it.scopedLive("prefers the longest namespace", () =>
      Effect.gen(function* () {
        const keys = [host, `${host}/team`, `${host}/team/app`, `${host}/te`]
        const document = {
          auths: Object.fromEntries(keys.map((key, index) => [key, { auth: auth(`u${index}`, "x") }]))
        }
        expect(named(yield* findIn(document, host, "team/app"))).toEqual(Option.some("u2"))
        expect(named(yield* findIn(document, host, "team/application"))).toEqual(Option.some("u1"))
        expect(named(yield* findIn(document, host, "other"))).toEqual(Option.some("u0"))
        expect(named(yield* findIn(document, host))).toEqual(Option.some("u0"))
      })
    )
    it.scopedLive("prefers the bare host, and skips entries that hold nothing", () =>
      Effect.gen(function* () {
        const entry = (name: string) => ({ auth: auth(name, "x") })
        const both = { auths: { [`https://${host}/v1/`]: entry("url"), [host]: entry("bare") } }
        expect(yield* findIn(both, host)).toEqual(Option.some(user("bare")))
        const empty = { auths: { [`https://${host}/v1/`]: entry("url"), [host]: { email: "a@b" } } }
        expect(yield* findIn(empty, host)).toEqual(Option.some(user("url")))
        expect(yield* findIn({ auths: { [host]: {} } }, host)).toEqual(Option.none())
      })
    )
    it.scopedLive("reads every field that holds a secret", () =>
      Effect.gen(function* () {
        const of = (entry: unknown) => findIn({ auths: { [host]: entry } }, host)
        expect(yield* of({ username: "bob", password: secret })).toEqual(Option.some(bob))
        expect(yield* of({ auth: auth("bob", `${secret}\0`) })).toEqual(Option.some(bob))
        expect(yield* of({ auth: auth("bob", secret), identitytoken: "t" })).toMatchObject({
          value: { _tag: "IdentityToken" }
        })
        expect(yield* of({ auth: auth("<token>", "t") })).toMatchObject({ value: { _tag: "IdentityToken" } })
        expect(yield* of({ identitytoken: "t", registrytoken: "r" })).toMatchObject({
          value: { _tag: "RegistryToken" }
        })
        expect(yield* of({ auth: "", username: null, identitytoken: "" })).toEqual(Option.none())
      })
    )
    it.scopedLive("takes credHelpers before credsStore before auths", () =>
      Effect.gen(function* () {
        const at = yield* home
        const [special, general] = [keeping(at, "special"), keeping(at, "general")]
        at.write(JSON.stringify({ [host]: { Username: "special", Secret: "x" } }), join(at.folder, "special.json"))
        const kept = { [host]: { Username: "wrong", Secret: "x" }, "b.example": { Username: "general", Secret: "x" } }
        at.write(JSON.stringify(kept), join(at.folder, "general.json"))
        at.write({
          credHelpers: { [host]: "special", "file.example": "" },
          credsStore: "general",
          auths: Object.fromEntries(
            [host, "b.example", "c.example", "file.example"].map((key) => [key, { auth: auth("file", "x") }])
          )
        })
        const find = (name: string) =>
          Effect.map(DockerConfig.service(at).find(name, Option.some("app")), (found) =>
            Option.getOrUndefined(named(found))
          )
        expect(yield* find(host)).toBe("special")
        expect(yield* find("b.example")).toBe("general")
        expect(yield* find("c.example")).toBe("file")
        expect(yield* find("file.example")).toBe("file")
        expect([special.calls(), general.calls()]).toEqual(["get", "get get"])
      })
    )
    it.scopedLive("asks a helper for Docker Hub by its old URL, and for a namespace by its key", () =>
      Effect.gen(function* () {
        const at = yield* home
        keeping(at, "store")
        const kept = {
          "https://index.docker.io/v1/": { Username: "hub", Secret: "x" },
          [`${host}/team`]: { Username: "team", Secret: "x" }
        }
        at.write(JSON.stringify(kept), join(at.folder, "store.json"))
        at.write({ credsStore: "store", credHelpers: { [`${host}/team`]: "store" } })
        const { find } = DockerConfig.service(at)
        expect(named(yield* find(hub, Option.some("library/alpine")))).toEqual(Option.some("hub"))
        expect(named(yield* find(host, Option.some("team/app")))).toEqual(Option.some("team"))
        expect(named(yield* find(host, Option.some("other/app")))).toEqual(Option.none())
      })
    )
    it.scopedLive("goes on to Podman's files, and stops at the first that has any", () =>
      Effect.gen(function* () {
        const at = yield* home
        const podman = join(at.folder, ".config/containers/auth.json")
        at.write({ auths: { [host]: { auth: auth("podman", "x") } } }, podman)
        const { find } = DockerConfig.service(at)
        expect(named(yield* find(host, Option.none()))).toEqual(Option.some("podman"))
        at.write({ auths: { [host]: { auth: auth("docker", "x") } } })
        at.write("{ broken", podman)
        expect(named(yield* find(host, Option.none()))).toEqual(Option.some("docker"))
      })
    )
    it.scopedLive("reads nothing before it is asked, and takes missing and empty files for none", () =>
      Effect.gen(function* () {
        const at = yield* home
        at.write("{ broken")
        const service = DockerConfig.service(at)
        at.write(" \n")
        expect(yield* service.find(host, Option.none())).toEqual(Option.none())
        const missing = DockerConfig.service({ ...at, authFile: join(at.folder, "config/none.json") })
        const error = yield* Effect.flip(missing.find(host, Option.none()))
        expect(error.message).toBe(`${join(at.folder, "config/none.json")}: there is no such file`)
        const variable = { ...at.environment, REGISTRY_AUTH_FILE: join(at.folder, "none.json") }
        const none = DockerConfig.service({ environment: variable })
        expect(yield* none.find(host, Option.none())).toEqual(Option.none())
      })
    )

    const broken: ReadonlyArray<readonly [what: string, document: unknown, rule: string]> = [
      ["no JSON", `{"auths":{"a":{"auth":"${secret}"`, "is not JSON"],
      ["an array", `["${secret}"]`, "must be an object"],
      ["a text for auths", { auths: secret }, "auths: must be an object"],
      ["a text for an entry", { auths: { [host]: secret } }, `auths["${host}"]: must be an object`],
      ["a list for auth", { auths: { [host]: { auth: [secret] } } }, `auths["${host}"]["auth"]: must be a string`],
      ["a number for credsStore", { credsStore: 17 }, "credsStore: must be a string"],
      ["a list for a helper", { credHelpers: { a: [secret] } }, 'credHelpers["a"]: must be a string'],
      ["auth that is no base64", { auths: { [host]: { auth: secret } } }, "is not the base64 text of USER:PASSWORD"],
      ["auth without a colon", { auths: { [host]: { auth: btoa("hunter2") } } }, "is not the base64 text"],
      ["a password alone", { auths: { [host]: { password: secret } } }, "has a password without a user name"],
      ["a key twice deep", `{"auths":${"[".repeat(80)}"${secret}"${"]".repeat(80)}}`, "levels deep"],
      ["too much", `{"auths":{},"x":"${"x".repeat(1 << 20)}"}`, "is larger than 1048576 bytes"]
    ]
    for (const [what, document, rule] of broken) {
      it.scopedLive(`names the file and the rule, never its contents: ${what}`, () =>
        Effect.gen(function* () {
          const at = yield* home
          at.write(document)
          const error = yield* Effect.flip(DockerConfig.service(at).find(host, Option.none()))
          expect(error).toMatchObject({ reason: "InvalidCredentials", subject: at.config })
          expect(error.message).toContain(rule)
          expect(error.hint).toContain("--authfile")
          expect(inspect(error, { depth: 10 }) + JSON.stringify(error)).not.toContain("hunter2")
        })
      )
    }
    it.scopedLive("says that a folder is no file", () =>
      Effect.gen(function* () {
        const at = yield* home
        mkdirSync(at.config, { recursive: true })
        const error = yield* Effect.flip(DockerConfig.service(at).find(host, Option.none()))
        expect(error.message).toBe(`${at.config}: cannot be read: it is a directory`)
      })
    )
  })

  describe("store", () => {
    it.scopedLive("makes the file for its owner alone, and finds the credential again", () =>
      Effect.gen(function* () {
        const at = yield* home
        expect(yield* DockerConfig.store(host, bob, at)).toEqual({ _tag: "File", path: at.config })
        expect(readFileSync(at.config, "utf8")).toBe(
          `{\n\t"auths": {\n\t\t"${host}": {\n\t\t\t"auth": "${auth("bob", secret)}"\n\t\t}\n\t}\n}`
        )
        expect([mode(at.config), mode(join(at.folder, ".docker"))]).toEqual([0o600, 0o700])
        expect(readdirSync(join(at.folder, ".docker"))).toEqual(["config.json"])
        expect(yield* DockerConfig.service(at).find(host, Option.none())).toEqual(Option.some(bob))
      })
    )
    it.scopedLive("keeps unknown fields, their order and the indentation, and narrows the mode", () =>
      Effect.gen(function* () {
        const at = yield* home
        const before = `{
  "zebra": { "b": [1, { "a": null }] },
  "auths": {
    "a.example": { "auth": "${auth("a", "x")}" },
    "https://${host}/v1/": { "email": "bob@example", "username": "old", "password": "${secret}", "x": 1 },
    "c.example": {}
  },
  "HttpHeaders": { "User-Agent": "me" },
  "detachKeys": "ctrl-e,e"
}
`
        at.write(before)
        chmodSync(at.config, 0o644)
        yield* DockerConfig.store(host, user("bob"), at)
        const text = readFileSync(at.config, "utf8")
        const expected = JSON.parse(before)
        expected.auths[`https://${host}/v1/`] = { auth: auth("bob", "x"), email: "bob@example", x: 1 }
        expect(text).toBe(`${JSON.stringify(expected, null, 2)}\n`)
        expect(mode(at.config)).toBe(0o600)
      })
    )
    it.scopedLive("writes Docker Hub as Docker does, and identity tokens", () =>
      Effect.gen(function* () {
        const at = yield* home
        yield* DockerConfig.store(hub, { _tag: "IdentityToken", token: Redacted.make("t") }, at)
        expect(at.read()).toEqual({ auths: { "https://index.docker.io/v1/": { identitytoken: "t" } } })
        expect(yield* DockerConfig.service(at).find(hub, Option.none())).toMatchObject({
          value: { _tag: "IdentityToken" }
        })
      })
    )
    it.scopedLive("follows links, also to where nothing is yet", () =>
      Effect.gen(function* () {
        const at = yield* home
        const real = join(at.folder, "dotfiles/docker.json")
        mkdirSync(join(at.folder, ".docker"))
        mkdirSync(join(at.folder, "dotfiles"))
        symlinkSync("../dotfiles/link.json", at.config)
        symlinkSync("docker.json", join(at.folder, "dotfiles/link.json"))
        yield* DockerConfig.store(host, bob, at)
        yield* DockerConfig.store("b.example", user("b"), at)
        expect(lstatSync(at.config).isSymbolicLink()).toBe(true)
        expect([lstatSync(real).isFile(), mode(real)]).toEqual([true, 0o600])
        expect(Object.keys((at.read(real) as { auths: object }).auths)).toEqual([host, "b.example"])
        expect(readdirSync(join(at.folder, "dotfiles")).sort()).toEqual(["docker.json", "link.json"])
      })
    )
    it.scopedLive("goes through the helper, and takes the old secret out of the file", () =>
      Effect.gen(function* () {
        const at = yield* home
        const helper = keeping(at, "keys")
        at.write({ auths: { [host]: { auth: auth("bob", secret), email: "e" }, b: {} }, credsStore: "keys" })
        expect(yield* DockerConfig.store(host, bob, at)).toEqual({ _tag: "Helper", name: "keys" })
        expect(helper.kept()).toEqual({ [host]: { Username: "bob", Secret: secret } })
        expect(at.read()).toEqual({ auths: { [host]: { email: "e" }, b: {} }, credsStore: "keys" })
        expect(yield* DockerConfig.service(at).find(host, Option.none())).toEqual(Option.some(bob))
      })
    )
    it.scopedLive("does not touch the file where a helper fails, nor one that is broken", () =>
      Effect.gen(function* () {
        const at = yield* home
        program(at, "bad", "process.exit(1)")
        const before = JSON.stringify({ credsStore: "bad", auths: { [host]: { auth: auth("bob", secret) } } })
        for (const text of [before, `{"auths":`]) {
          at.write(text)
          const error = yield* Effect.flip(DockerConfig.store(host, bob, at))
          expect(error.reason).toBe("InvalidCredentials")
          expect(inspect(error, { depth: 10 })).not.toContain("hunter2")
          expect(readFileSync(at.config, "utf8")).toBe(text)
        }
      })
    )
    it.scopedLive("says why it cannot be written, and which folder cannot be made", () =>
      Effect.gen(function* () {
        const at = yield* home
        at.write("", join(at.folder, "file"))
        for (const [folder, why] of [
          [join(at.folder, "file/a"), "a part of the path is no directory"],
          // Nobody can make a folder there, not even root.
          ["/proc/none/a", "the folder /proc/none cannot be made: "]
        ] as const) {
          const environment = { ...at.environment, DOCKER_CONFIG: folder }
          const error = yield* Effect.flip(DockerConfig.store(host, bob, { environment }))
          expect(error.message).toContain(`${folder}/config.json: cannot be written: ${why}`)
          expect(error.hint).toContain("DOCKER_CONFIG")
        }
      })
    )
    it.scopedLive("refuses a user name that the file cannot hold, and a missing home", () =>
      Effect.gen(function* () {
        const at = yield* home
        const error = yield* Effect.flip(DockerConfig.store(host, user("a:b"), at))
        expect(error.message).toContain("no colon")
        expect(existsSync(at.config)).toBe(false)
        expect((yield* Effect.flip(DockerConfig.store(host, bob, { environment: {} }))).message).toContain("home")
      })
    )
  })

  describe("erase", () => {
    it.scopedLive("takes every spelling of the host out, and nothing else", () =>
      Effect.gen(function* () {
        const at = yield* home
        const entry = { auth: auth("a", "x") }
        at.write({
          a: 1,
          auths: { [host]: entry, [`https://${host}/v1/`]: entry, [`${host}/team`]: entry, "b.example": entry }
        })
        expect(yield* DockerConfig.erase(host, at)).toEqual([at.config])
        expect(at.read()).toEqual({ a: 1, auths: { [`${host}/team`]: entry, "b.example": entry } })
        expect(mode(at.config)).toBe(0o600)
        expect(yield* DockerConfig.erase(host, at)).toEqual([])
      })
    )
    it.scopedLive("erases from the helper, and says where there was nothing", () =>
      Effect.gen(function* () {
        const at = yield* home
        const helper = keeping(at, "keys")
        at.write({ credsStore: "keys" })
        expect(yield* DockerConfig.erase(host, at)).toEqual([])
        yield* DockerConfig.store(host, bob, at)
        expect(yield* DockerConfig.erase(host, at)).toEqual([at.config])
        expect(helper.kept()).toEqual({})
      })
    )
    it.scopedLive("goes through all files, and touches none where one is broken", () =>
      Effect.gen(function* () {
        const at = yield* home
        const podman = join(at.folder, ".config/containers/auth.json")
        const document = { auths: { [host]: { auth: auth("bob", "x") } } }
        at.write(document)
        at.write("{ broken", podman)
        expect((yield* Effect.flip(DockerConfig.erase(host, at))).subject).toBe(podman)
        expect(at.read()).toEqual(document)
        at.write(document, podman)
        expect(yield* DockerConfig.erase(host, at)).toEqual([at.config, podman])
        expect([at.read(), at.read(podman)]).toEqual([{ auths: {} }, { auths: {} }])
      })
    )
    it.scopedLive("makes no file", () =>
      Effect.gen(function* () {
        const at = yield* home
        expect(yield* DockerConfig.erase(host, at)).toEqual([])
        expect(existsSync(join(at.folder, ".docker"))).toBe(false)
      })
    )
  })
})
