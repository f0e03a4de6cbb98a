/** What a sync is asked to do. */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as Platform from "../model/Platform.js"
import * as Reference from "../model/Reference.js"
import * as TagFilter from "../model/TagFilter.js"

/** More entries than this were not written by a person. */
export const maxEntries = 1000

const Text = (description: string) => Schema.String.annotations({ description })

/** A YAML file has `1` for a tag as naturally as `latest`. */
const TagName = Schema.transform(Schema.Union(Schema.String, Schema.Number), Schema.String, {
  strict: true,
  decode: String,
  encode: (tag) => tag
}).pipe(Schema.filter(Reference.isTag, { message: () => "expected a tag: letters, digits and . _ -, 128 at most" }))

const PlatformName = Schema.String.pipe(
  Schema.filter((text) => Either.isRight(Platform.parse(text)), {
    message: () => "expected os/architecture[/variant], as linux/amd64",
    jsonSchema: { pattern: "^[a-z0-9_.-]+/[a-z0-9_.-]+(/[a-z0-9_.-]+)?$" }
  })
)

export const RenameRule = Schema.Struct({
  match: Text(
    "A regular expression (RE2, as in Go); ^ and $ stand for the ends. A name that it does not match stays as it is"
  ),
  to: Text("What the first match becomes; $1 is its first group, $$ a dollar")
}).annotations({ identifier: "RenameRule" })
export type RenameRule = typeof RenameRule.Type

const RenameRules = (what: string) =>
  Schema.optional(
    Schema.Array(RenameRule)
      .pipe(Schema.maxItems(16))
      .annotations({ title: "16 at most", description: `Applied to ${what} one after the other` })
  )

export const Rename = Schema.Struct({
  tags: RenameRules("each tag"),
  repositories: RenameRules("the path of the target's repository, without its host,")
}).annotations({ identifier: "Rename" })

const Percentage = Schema.String.pipe(
  Schema.pattern(/^(?:100|\d{1,2})%$/, {
    title: "a percentage",
    description: "0% to 100%",
    message: () => "expected a percentage, as 10%"
  })
)

export const Entry = Schema.Struct({
  from: Text(
    "A repository, or a pattern of them: in registry.example/team/* the * is any name, ** also takes slashes, ? is one character. Patterns need the registry's catalog"
  ),
  to: Text(
    "A repository; or a prefix that ends in /, to which the source's path is added from the last / before its first wildcard (without one: its last part)"
  ),
  tags: Schema.optional(
    Schema.Union(
      TagFilter.TagFilter,
      Schema.Array(TagName).pipe(Schema.minItems(1, { title: "a list of tags", description: "Each has to be there" }))
    ).annotations({
      description:
        "A filter, or a list of tags that have to be there. Default: all, without those made of digests (sha256-…)"
    })
  ),
  platforms: Schema.optional(
    Schema.Array(PlatformName).annotations({
      description: "Of images for several platforms only these; several make a new index. Default: images go whole"
    })
  ),
  referrers: Schema.optional(
    Schema.Boolean.annotations({
      description: "Take along signatures, SBOMs and attestations that refer to the images. Default false"
    })
  ),
  digestTags: Schema.optional(
    Schema.Boolean.annotations({
      description: "Take along cosign's tags sha256-….sig, .att and .sbom of the images. Default false"
    })
  ),
  rename: Schema.optional(Rename),
  prune: Schema.optional(
    Schema.Boolean.annotations({
      description:
        "Delete tags of the target that this entry would have made from source tags that are gone. Default false"
    })
  ),
  maxDelete: Schema.optional(
    Schema.Union(
      Schema.Number.pipe(Schema.int(), Schema.nonNegative({ title: "a number of tags", description: "0 or more" })),
      Percentage
    ).annotations({
      description:
        "With prune: delete nothing where more tags than this would go from a target repository, a number or a percentage of those this entry could have made. Default 50%"
    })
  )
}).annotations({ identifier: "Entry" })
export type Entry = typeof Entry.Type

const Bound = (from: number, to: number, description: string) =>
  Schema.optional(
    Schema.Number.pipe(Schema.int(), Schema.between(from, to)).annotations({ title: `${from} to ${to}`, description })
  )

export const Config = Schema.Struct({
  concurrency: Bound(
    1,
    100,
    "Blobs in flight, those of all images together. Default: that of the registry settings, 5"
  ),
  images: Bound(1, 100, "Images in flight. Default 4"),
  sync: Schema.Array(Entry)
    .pipe(Schema.minItems(1), Schema.maxItems(maxEntries))
    .annotations({ title: "entries", description: "What goes from where to where" })
}).annotations({ identifier: "Sync", title: "What ereg sync copies" })
export type Config = typeof Config.Type
