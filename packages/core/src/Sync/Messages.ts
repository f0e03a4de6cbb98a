/** What is wrong with a configuration in the words of its documentation, not in those of the schema. */
import type { Issue } from "../ValidationError.js"

/**
 * One issue for each path. What a schema says of itself becomes what the field has to be; what says more, such as that a
 * field is missing, stays. Of a field and a part of it only the part is told.
 */
export const plain = (issues: ReadonlyArray<Issue>): ReadonlyArray<Issue> => {
  const paths = new Map<string, Issue>()
  for (const { message, path } of issues) {
    const seen = paths.has(path)
    if (!seen || isInternal(message))
      paths.set(path, { path, message: seen || isInternal(message) ? say(path) : message })
  }
  const all = [...paths.values()]
  return all.filter(({ path }) => !all.some((other) => isWithin(other.path, path)))
}

// internal

/** In the order of the documentation; `[]` stands for any place in a list. */
const wanted: Readonly<Record<string, string>> = {
  "": "fields, of which sync is a list of entries",
  concurrency: "a number, 1 to 100",
  images: "a number, 1 to 100",
  sync: "a list of entries, 1 to 1000",
  "sync[]": "an entry with the fields from and to",
  "sync[].from": "a repository, or a pattern such as registry.example/team/*",
  "sync[].to": "a repository, or a prefix that ends in /",
  "sync[].tags": 'a filter such as { semver: ">=1" }, or a list of tags such as [1.0, latest]',
  "sync[].tags.glob": "a pattern such as 1.*, or a list of patterns",
  "sync[].tags.exclude": "a pattern such as *-rc*, or a list of patterns",
  "sync[].tags.regex": "a regular expression",
  "sync[].tags.semver": "a range such as >=1.2 <2",
  "sync[].tags.includePrerelease": "true or false",
  "sync[].tags.newest": "a whole number, 1 or more",
  "sync[].tags[]": "a tag",
  "sync[].platforms": "a list such as [linux/amd64]",
  "sync[].platforms[]": "os/architecture[/variant], as linux/amd64",
  "sync[].referrers": "true or false",
  "sync[].digestTags": "true or false",
  "sync[].rename": "lists of rules, in the fields tags and repositories",
  "sync[].rename.tags": "a list of rules with match and to, 16 at most",
  "sync[].rename.repositories": "a list of rules with match and to, 16 at most",
  "sync[].prune": "true or false",
  "sync[].maxDelete": "a whole number, or a percentage such as 10%"
}

const say = (path: string): string => {
  const field = path.replace(/\[\d+\]/g, "[]")
  if (/^sync\[\]\.rename\.[a-z]+\[\]$/.test(field)) return "expected a rule with the fields match and to"
  return `expected ${wanted[field] ?? "a text"}`
}

/** A schema's own words begin with a capital letter, or tell of what is there. */
const isInternal = (message: string): boolean => /^Expected |, actual /.test(message)

const isWithin = (path: string, parent: string): boolean =>
  parent !== "" && path !== parent && (path.startsWith(`${parent}.`) || path.startsWith(`${parent}[`))
