/** The folder of a registry, looked at as files. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { digestOf } from "./killedModel.js"

const list = (path: string) => (existsSync(path) ? readdirSync(path) : [])

const own = (root: string, repository: string, ...parts: ReadonlyArray<string>) =>
  join(root, "repositories", repository, ...parts)

/** Files under a digest that have another one; those in `seen` were looked at before. */
export const wrongBlobs = (root: string, repositories: ReadonlyArray<string>, seen: Set<string>) => {
  const folders = [
    join(root, "blobs/sha256"),
    ...repositories.map((repository) => own(root, repository, "_layout/blobs/sha256"))
  ]
  const wrong: Array<string> = []
  for (const folder of folders) {
    for (const name of list(folder)) {
      const path = join(folder, name)
      const { ino, size } = statSync(path)
      const id = `${ino} ${size} ${name}`
      if (seen.has(id)) continue
      seen.add(id)
      if (digestOf(readFileSync(path)) !== `sha256:${name}`) wrong.push(path)
    }
  }
  return wrong
}

/** Tags that name what is not there whole. */
export const danglingTags = (root: string, repository: string): ReadonlyArray<string> =>
  [...tagsOf(root, repository)]
    .filter(([, digest]) => {
      const hex = digest.slice("sha256:".length)
      return !["_manifests/sha256", "_layout/blobs/sha256"].every((folder) =>
        existsSync(own(root, repository, folder, hex))
      )
    })
    .map(([tag, digest]) => `${repository}:${tag} names ${digest}`)

/** What index.json says that the tags and manifests do not, or the other way round. */
export const indexFaults = (root: string, repository: string): ReadonlyArray<string> => {
  const tags = tagsOf(root, repository)
  const reached = new Set(tags.values())
  const manifests = list(own(root, repository, "_manifests/sha256")).map((hex) => `sha256:${hex}`)
  for (const digest of manifests) {
    const marker: { readonly children?: ReadonlyArray<string> } = JSON.parse(
      readFileSync(own(root, repository, "_manifests/sha256", digest.slice(7)), "utf8")
    )
    for (const child of marker.children ?? []) reached.add(child)
  }
  const expected = [
    ...[...tags].map(([tag, digest]) => `${tag} ${digest}`),
    ...manifests.filter((each) => !reached.has(each))
  ]
  if (expected.length === 0) return []
  const path = own(root, repository, "_layout/index.json")
  if (!existsSync(path)) return [`${path} is missing`]
  const index: {
    readonly manifests: ReadonlyArray<{ readonly digest: string; readonly annotations?: Record<string, string> }>
  } = JSON.parse(readFileSync(path, "utf8"))
  const actual = index.manifests.map(({ annotations, digest }) => {
    const tag = annotations?.["org.opencontainers.image.ref.name"]
    return tag === undefined ? digest : `${tag} ${digest}`
  })
  return [
    ...expected.filter((each) => !actual.includes(each)).map((each) => `${repository}: index.json lacks ${each}`),
    ...actual.filter((each) => !expected.includes(each)).map((each) => `${repository}: index.json has ${each}`)
  ]
}

export const unfinished = (root: string): ReadonlyArray<string> => list(join(root, "tmp"))

// internal

const tagsOf = (root: string, repository: string): ReadonlyMap<string, string> =>
  new Map(
    list(own(root, repository, "_tags")).map((tag) => [tag, readFileSync(own(root, repository, "_tags", tag), "utf8")])
  )
