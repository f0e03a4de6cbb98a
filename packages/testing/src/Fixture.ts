/** Images, archives and layouts for tests: made by functions, or real. */
export * from "./fixture/Archive.js"
export * from "./fixture/Artifact.js"
export * from "./fixture/Image.js"
