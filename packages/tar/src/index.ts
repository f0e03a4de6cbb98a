/** @packageDocumentation Archives and layouts as image stores, and what can be asked of them. */
export * as Address from "./Address.js"
export {
  type Aspect,
  type ConfigChange,
  type DiffOptions,
  type DiffSide,
  diff,
  type FileChange,
  type ImageDiff,
  type LayerChange
} from "./Diff.js"
export * as DockerArchive from "./DockerArchive.js"
export type { DockerManifestEntry } from "./DockerManifest.js"
export { type EntryType, type FileEntry, type FilesOptions, files, type ImageFiles, type LayerFiles } from "./Files.js"
export { type ArchiveImage, type InspectOptions, inspectArchive, inspectSource } from "./InspectArchive.js"
export * as OciArchive from "./OciArchive.js"
export * as OciLayout from "./OciLayout.js"
export { parseRepositoryTag } from "./RepositoryTag.js"
export * as Store from "./Store.js"
export { extractTags, getPrimaryTag, getTarManifest } from "./Tags.js"
export { TarReadError } from "./TarReadError.js"
export { type Problem, type Validation, validateArchive } from "./Validate.js"
