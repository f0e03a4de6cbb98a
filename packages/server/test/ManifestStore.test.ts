import { all } from "./suites/Backends.js"
import * as ManifestStoreSuite from "./suites/ManifestStoreSuite.js"

for (const backend of all) ManifestStoreSuite.suite(backend)
