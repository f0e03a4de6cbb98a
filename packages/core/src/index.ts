/** @packageDocumentation Verbs are functions, nouns are namespaces, errors are classes. */
export * as BlobInfoCache from "./BlobInfoCache.js"
export * as BlobTransport from "./BlobTransport.js"
export * as Compressor from "./Compressor.js"
export { readImageConfig } from "./Copy/Config.js"
export {
  type BlobCounts,
  type Changed,
  type CopyOptions,
  type CopyResult,
  copy,
  formatEntries,
  formatName,
  type Options,
  only as onlyImage
} from "./Copy.js"
export * as Credentials from "./Credentials.js"
export {
  type DeletedImage,
  type DeletedTag,
  type DeleteImageOptions,
  deleteImage,
  deleteImageByDigest,
  deleteTag
} from "./Delete.js"
export * as Hasher from "./Hasher.js"
export * as MemoryStore from "./ImageStore/Memory.js"
export type * from "./ImageStore.js"
export {
  blobExists,
  getBlob,
  getImageInfo,
  getManifest,
  type ImageInfo,
  type InspectOptions
} from "./Inspect.js"
export { type ListOptions, listRepositories, listTags, streamRepositories, streamTags } from "./List.js"
export * as Descriptor from "./model/Descriptor.js"
export * as Digest from "./model/Digest.js"
export * as ImageConfig from "./model/ImageConfig.js"
export * as Json from "./model/Json.js"
export * as Manifest from "./model/Manifest.js"
export * as MediaType from "./model/MediaType.js"
export * as Platform from "./model/Platform.js"
export * as Reference from "./model/Reference.js"
export * as Referrer from "./model/Referrer.js"
export * as TagFilter from "./model/TagFilter.js"
export { type PingResult, ping } from "./Ping.js"
export * as ProcessLock from "./ProcessLock.js"
export * as Progress from "./Progress.js"
export { type PulledImage, type PullOptions, type PullResult, pull } from "./Pull.js"
export { type FailedPush, type PushedImage, type PushOptions, type PushResult, push, pushEach } from "./Push.js"
export { type ReferrersOptions, type ReferrersResult, referrers } from "./Referrers.js"
export * as Registry from "./Registry.js"
export * as RegistryConfig from "./RegistryConfig.js"
export { OciErrorCode, RegistryError, safeUrl } from "./RegistryError.js"
export * as RepositoryReader from "./RepositoryReader.js"
export * as Retention from "./Retention.js"
export * as Sync from "./Sync.js"
export { type TagResult, tag } from "./Tag.js"
export * as UploadJournal from "./UploadJournal.js"
export { type Issue, ValidationError } from "./ValidationError.js"
