/** Credential helpers and folders of the test's own. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { Credentials } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Environment } from "../src/CredentialHelper.js"
import { tempDir } from "./support.js"

/** No output of anything may hold it. */
export const secret = "hunter2:pass+word/with=odd&parts"

export const bob = Credentials.password("bob", Redacted.make(secret))

export const auth = (username: string, password: string): string =>
  Buffer.from(`${username}:${password}`).toString("base64")

/** Puts a program that runs this JavaScript on the PATH of `home`. */
export const program = (home: Home, name: string, script: string): void => {
  const file = join(home.bin, `docker-credential-${name}`)
  mkdirSync(home.bin, { recursive: true })
  writeFileSync(file, `#!${process.execPath}\n${script}`)
  chmodSync(file, 0o755)
}

/** A helper that keeps everything in a file, as Docker's own keep it in a keychain, and counts its calls. */
export const keeping = (home: Home, name: string): { readonly kept: () => unknown; readonly calls: () => string } => {
  const file = join(home.folder, `${name}.json`)
  const log = join(home.folder, `${name}.log`)
  program(
    home,
    name,
    `const fs = require("node:fs")
const [file, log] = ${JSON.stringify([file, log])}
const all = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : {}
const input = fs.readFileSync(0, "utf8")
const verb = process.argv[2]
fs.appendFileSync(log, verb + " ")
if (verb === "store") {
  const { ServerURL, Username, Secret } = JSON.parse(input)
  all[ServerURL] = { Username, Secret }
} else if (all[input] === undefined) {
  console.log("credentials not found in native keychain")
  process.exit(1)
} else if (verb === "get") console.log(JSON.stringify({ ServerURL: input, ...all[input] }))
else delete all[input]
fs.writeFileSync(file, JSON.stringify(all))`
  )
  return {
    kept: () => (existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {}),
    calls: () => (existsSync(log) ? readFileSync(log, "utf8").trim() : "")
  }
}

export interface Home {
  readonly folder: string
  readonly bin: string
  readonly environment: Environment
  /** Docker's config.json. */
  readonly config: string
  /** Writes it, or another file. */
  readonly write: (document: unknown, path?: string) => void
  readonly read: (path?: string) => unknown
}

/** A home folder that goes with the scope. */
export const home = Effect.map(tempDir, (folder): Home => {
  const config = join(folder, ".docker/config.json")
  const bin = join(folder, "bin")
  return {
    folder,
    bin,
    config,
    environment: { HOME: folder, PATH: bin },
    write: (document, path = config) => {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, typeof document === "string" ? document : JSON.stringify(document, null, "\t"))
    },
    read: (path = config) => JSON.parse(readFileSync(path, "utf8"))
  }
})
