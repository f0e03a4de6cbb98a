/** A retention's plan as people see it. */
import { Digest, type Retention } from "@effect-registry/core"
import { count } from "./output.js"
import * as PlanView from "./planView.js"

/** What goes and what stays, with the reasons. */
export const of = (plan: Retention.Plan): PlanView.View => ({
  rows: [
    ...plan.delete.map(({ created, digest, reason, tag }) => ({
      action: "delete",
      name: `${plan.repository}:${tag}`,
      detail: [ageOf(created, plan.made), Digest.short(digest), whyDeleted(reason, plan.rules)]
    })),
    ...plan.manifests.map(({ after, digest }) => ({
      action: "delete",
      name: `${plan.repository}@${algorithmOf(digest)}:…`,
      detail: ["", Digest.short(digest), after.length === 0 ? "no tag that stays needs it" : "belongs to what goes"]
    }))
  ],
  unchanged: PlanView.countReasons(plan.keep.map(({ reason }) => whyKept(reason, plan.rules))),
  verb: "keep",
  noun: "tag",
  summary: `${plan.repository}: delete ${sum([plan])}, keep ${count(plan.keep.length, "tag")}`
})

/** `3 tags`, or `3 tags and 5 manifests`: what goes by all these plans. */
export const sum = (plans: ReadonlyArray<Retention.Plan>): string => {
  const tags = plans.reduce((total, plan) => total + plan.delete.length, 0)
  const manifests = plans.reduce((total, plan) => total + plan.manifests.length, 0)
  const withManifests = plans.some(({ rules }) => rules.manifests)
  return withManifests ? `${count(tags, "tag")} and ${count(manifests, "manifest")}` : count(tags, "tag")
}

// internal

const whyDeleted = (reason: Retention.DeleteReason, { keepLast, olderThan }: Retention.Rules): string => {
  if (reason === "Unfinished") return "its deletion was cut off"
  if (reason === "BelongsToDeleted") return "belongs to what goes"
  const rules = [
    ...(keepLast === undefined ? [] : [`not among the newest ${keepLast}`]),
    ...(olderThan === undefined ? [] : [`older than ${limit(olderThan)}`])
  ]
  return rules.length === 0 ? "chosen by its name" : rules.join(", ")
}

const whyKept = (reason: Retention.KeepReason, { keepLast, olderThan = 0 }: Retention.Rules): string => {
  switch (reason) {
    case "DigestTag":
      return "made of a digest"
    case "NotChosen":
      return "not chosen by name"
    case "UnknownAge":
      return "of unknown age"
    case "KeepLast":
      return `among the newest ${keepLast}`
    case "TooYoung":
      return `not older than ${limit(olderThan)}`
  }
}

const algorithmOf = (digest: Digest.Digest): string => digest.slice(0, digest.indexOf(":"))

const ageOf = (created: string | null, made: string): string =>
  created === null ? "?" : span(Date.parse(made) - Date.parse(created))

const units = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"]
] as const

/** In the largest unit of which there are two, or exactly some. */
const span = (milliseconds: number): string => {
  const [size, name] = units.find(([unit]) => milliseconds >= 2 * unit || milliseconds === unit) ?? [1000, "s"]
  return `${Math.floor(milliseconds / size)}${name}`
}

/** In the largest unit of which there is a whole number: a limit has to be told exactly. */
const limit = (milliseconds: number): string => {
  const [size, name] = units.find(([unit]) => milliseconds % unit === 0) ?? [1000, "s"]
  return `${milliseconds / size}${name}`
}
