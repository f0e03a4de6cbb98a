/**
 * Changes of one repository, of which one runs at a time. A manifest is there once its marker is: what comes before it (bytes,
 * the entry among the referrers) means nothing without, and tags come after. Removing goes the other way. So a process that is
 * killed leaves no tag and no referrer that names nothing.
 */
import * as Fs from "node:fs/promises"
import { dirname } from "node:path"
import type { Digest } from "@effect-registry/core"
import type { Edit, Put } from "../ManifestStore.js"
import * as Commit from "../storage/Commit.js"
import * as Files from "../storage/Files.js"
import type { Layout } from "../storage/Layout.js"
import type * as Asked from "./Asked.js"
import * as Catalog from "./Catalog.js"
import * as Records from "./Records.js"

export interface Context {
  readonly layout: Layout
  readonly files: Files.Files
  readonly records: Records.Records
  readonly catalog: Catalog.Catalog
  readonly asked: Asked.Asked
  /** To be told before and after something changes. */
  readonly touch: (repository: string) => void
}

export const edit = (context: Context, repository: string): Edit => ({
  put: (manifest) => Files.attempt("store a manifest", () => put(context, repository, manifest)),
  remove: (digest, before) =>
    Files.attempt("remove a manifest", () =>
      context.asked.remove(repository, digest, before, () => remove(context, repository, digest, before))
    ),
  untag: (tag) => Files.attempt("remove a tag", () => untag(context, repository, tag))
})

// internal

const { key } = Records

const put = async (context: Context, repository: string, manifest: Put): Promise<void> => {
  const { catalog, files, layout, records } = context
  const { bytes, children, digest, mediaType, refersTo, tags } = manifest
  const marker: Records.Marker = { mediaType, size: bytes.length, subject: refersTo?.subject, children }
  const before = await Records.lenient(records.marker(repository, digest))
  const named = await Promise.all(tags.map((tag) => Files.readText(layout.tag(repository, tag))))
  const moved = tags.filter((_, at) => named[at] !== digest)
  const parts = await manifestParts(context, repository, manifest, marker)

  const commit = (parts: ReadonlyArray<Commit.Entry>) =>
    Commit.commit(files, layout.tmp, [parts, moved.map((tag) => Commit.write(layout.tag(repository, tag), digest))])

  await changing(context, repository, { digests: [digest], tags, subject: refersTo?.subject }, async () => {
    if (before?.durable !== true) await Commit.confirm(files, unwritten(layout, repository, manifest, parts))
    const content = layout.content(digest)
    const links = parts.some(({ _tag }) => _tag === "Link") && !parts.some(({ path }) => path === content)
    // The content that was to be linked may just have been removed, as that of no repository.
    if (links) await commit(parts).catch(() => commit([Commit.write(content, bytes), ...parts]))
    else await commit(parts)
    await Commit.confirm(
      files,
      tags.filter((tag) => !moved.includes(tag)).map((tag) => layout.tag(repository, tag))
    )
  })
  // Content that was there already may look as if nobody had asked for it in a while.
  if (!parts.some(({ path }) => path === layout.content(digest))) await Files.touch(layout.blob(repository, digest))

  records.contents.set(digest, bytes)
  records.markers.set(key(repository, digest), { ...marker, durable: true })
  for (const tag of tags) records.tags.set(key(repository, tag), digest)
  adjust(records.digests, key(repository), (all) => Records.including(all, digest))
  adjust(records.names, key(repository), (all) => moved.reduce(Records.including, all))
  catalog.note(repository, true)
}

const remove = async (
  context: Context,
  repository: string,
  digest: Digest.Digest,
  before: number | undefined
): Promise<boolean> => {
  const { catalog, files, layout, records } = context
  const path = layout.manifest(repository, digest)
  const marker = await Records.lenient(records.marker(repository, digest))
  if (marker === undefined && (await Files.sizeOf(path)) === undefined) return false
  const tags = await records.naming(repository, digest)
  const subject = marker?.subject
  await changing(context, repository, { digests: [digest], tags, subject }, async () => {
    await Commit.remove(files, [
      ...tags.map((tag) => layout.tag(repository, tag)),
      path,
      ...(subject === undefined ? [] : [layout.referrer(repository, subject, digest)])
    ])
    // Other manifests may name it as a layer. With a time it is a collection that asks, which has looked.
    if (before !== undefined) await release(context, layout.blob(repository, digest), before)
  })
  const gone = new Set(tags)
  adjust(records.digests, key(repository), (all) => all.filter((each) => each !== digest))
  adjust(records.names, key(repository), (all) => all.filter((tag) => !gone.has(tag)))
  catalog.note(repository, await Catalog.holdsManifest(layout, repository))
  return true
}

/** Takes a blob out of its repository unless it is touched meanwhile: whoever pushes its bytes as a blob holds no lock of ours. */
const release = async ({ files }: Context, own: string, before: number): Promise<void> => {
  await files.removeIf(own, ({ mtimeMs }) => mtimeMs < before)
  // Also where it came back: that it does is not yet on the disk.
  await Files.ifThere(files.syncFolder(dirname(own)))
}

const untag = async (context: Context, repository: string, tag: string): Promise<boolean> => {
  const { files, layout, records } = context
  const [removed = false] = await changing(context, repository, { digests: [], tags: [tag] }, () =>
    Commit.remove(files, [layout.tag(repository, tag)])
  )
  adjust(records.names, key(repository), (all) => all.filter((each) => each !== tag))
  return removed
}

/** The files of a manifest that are not yet there as they should be, in the order in which they are to appear. */
const manifestParts = async (
  { layout }: Context,
  repository: string,
  { bytes, digest, refersTo }: Put,
  marker: Records.Marker
): Promise<ReadonlyArray<Commit.Entry>> => {
  const parts: Array<Commit.Entry> = []
  const own = layout.blob(repository, digest)
  const shared = layout.content(digest)
  if (!(await holds(own, bytes))) {
    // Damaged, or it is not there.
    await Files.remove(own)
    if (!(await holds(shared, bytes))) parts.push(Commit.write(shared, bytes))
    parts.push(Commit.link(shared, own))
  }
  const texts: Array<readonly [string, string]> = []
  if (refersTo !== undefined) {
    texts.push([layout.referrer(repository, refersTo.subject, digest), JSON.stringify(refersTo.as)])
  }
  texts.push([layout.manifest(repository, digest), Records.encodeMarker(marker)])
  for (const [path, text] of texts) {
    if ((await Files.readText(path)) !== text) parts.push(Commit.write(path, text))
  }
  return parts
}

/** What is there already, perhaps not yet on the disk: it was written by a process that was killed before it was. */
const unwritten = (
  layout: Layout,
  repository: string,
  { digest, refersTo }: Put,
  parts: ReadonlyArray<Commit.Entry>
): ReadonlyArray<string> => {
  const written = new Set(parts.map(({ path }) => path))
  const referrer = refersTo === undefined ? [] : [layout.referrer(repository, refersTo.subject, digest)]
  return [
    layout.content(digest),
    layout.blob(repository, digest),
    ...referrer,
    layout.manifest(repository, digest)
  ].filter((path) => !written.has(path))
}

const holds = async (path: string, bytes: Uint8Array): Promise<boolean> => {
  const found = await Files.ifThere(Fs.readFile(path))
  return found?.equals(bytes) ?? false
}

interface Affected {
  readonly digests: ReadonlyArray<Digest.Digest>
  readonly tags: ReadonlyArray<string>
  readonly subject?: Digest.Digest | undefined
}

/** Forgets what is about to change, and again what somebody read meanwhile, also where the change fails halfway. */
const changing = async <A>(
  { records, touch }: Context,
  repository: string,
  { digests, subject, tags }: Affected,
  run: () => Promise<A>
): Promise<A> => {
  const forget = () => {
    for (const digest of digests) records.markers.drop(key(repository, digest))
    for (const digest of digests) records.contents.drop(digest)
    for (const tag of tags) records.tags.drop(key(repository, tag))
    if (subject !== undefined) records.referring.drop(key(repository, subject))
    touch(repository)
  }
  forget()
  try {
    return await run()
  } catch (cause) {
    records.names.drop(key(repository))
    records.digests.drop(key(repository))
    throw cause
  } finally {
    forget()
  }
}

/** Changes what is held; what is being read now is not kept. */
const adjust = <A>(
  cache: {
    readonly peek: (key: string) => A | undefined
    readonly set: (key: string, value: A) => void
    readonly drop: (key: string) => void
  },
  at: string,
  change: (value: A) => A
) => {
  const held = cache.peek(at)
  if (held === undefined) cache.drop(at)
  else cache.set(at, change(held))
}
