/** A retention as values: the rules, what they come to, and what became of it. All of it is JSON as it is. */
import * as Schema from "effect/Schema"
import { Digest } from "../model/Digest.js"
import * as Reference from "../model/Reference.js"
import { TagFilter } from "../model/TagFilter.js"

const Tag = Schema.String.pipe(Schema.filter(Reference.isTag, { message: () => "expected a tag" }))
/** RFC 3339, `null` where it is unknown. */
const Created = Schema.NullOr(Schema.String)

export const Rules = Schema.Struct({
  /** Which tags the rules are about; all others stay. */
  tags: Schema.optional(TagFilter),
  /** The newest so many of them stay. */
  keepLast: Schema.optional(Schema.Int.pipe(Schema.positive())),
  /** Milliseconds; what is younger stays. */
  olderThan: Schema.optional(Schema.Number.pipe(Schema.positive())),
  /** The manifests go as well, where nothing that stays needs them. */
  manifests: Schema.Boolean
})
export type Rules = typeof Rules.Type

export const DeleteReason = Schema.Literal(
  /** Every rule given says so. */
  "Rules",
  /** A deletion of the tag that was cut off: it names nothing any more. */
  "Unfinished",
  /** It lists or signs an image that goes. */
  "BelongsToDeleted"
)
export type DeleteReason = typeof DeleteReason.Type

export const KeepReason = Schema.Literal(
  /** `sha256-…`: a list of referrers, or a signature. */
  "DigestTag",
  /** The rules are about other tags. */
  "NotChosen",
  /** Nobody knows when it was made. */
  "UnknownAge",
  /** Among the newest. */
  "KeepLast",
  "TooYoung"
)
export type KeepReason = typeof KeepReason.Type

export const Deletion = Schema.Struct({ tag: Tag, digest: Digest, created: Created, reason: DeleteReason })
export type Deletion = typeof Deletion.Type

/** `digest` is `null` where nobody had to look. */
export const Kept = Schema.Struct({
  tag: Tag,
  digest: Schema.NullOr(Digest),
  created: Created,
  reason: KeepReason
})
export type Kept = typeof Kept.Type

export const ManifestDeletion = Schema.Struct({
  digest: Digest,
  /** The manifests that lead to it and go before it: an index, or the subject of a referrer. None for a tag's own. */
  after: Schema.Array(Digest)
})
export type ManifestDeletion = typeof ManifestDeletion.Type

export const Plan = Schema.Struct({
  /** `HOST/REPOSITORY`. */
  repository: Schema.String,
  /** When the plan was made, RFC 3339: what the ages count from. */
  made: Schema.String,
  rules: Rules,
  /** The oldest first. */
  delete: Schema.Array(Deletion),
  /** Every other tag, with the first rule that kept it. */
  keep: Schema.Array(Kept),
  /** In the order they go; empty unless the rules say so. */
  manifests: Schema.Array(ManifestDeletion)
}).annotations({ identifier: "RetentionPlan" })
export type Plan = typeof Plan.Type
