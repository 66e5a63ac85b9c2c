// Makes RELEASE.json: the types that Grafana publishes for dashboards and panels (@grafana/schema), as JSON Schema, and
// alerting-RELEASE.json: those for alert rules, contact points, policies and expressions (@grafana/grafana-foundation-sdk).
//
//     npm ci --ignore-scripts && node make.mjs
//
// Each release's package is installed under a name of its own; the version is locked in package-lock.json. The schemas say
// `additionalProperties: false` wherever the type has no index, so that a misspelt option is an error.
import fs from "node:fs";
import { createGenerator } from "ts-json-schema-generator";

// Release -> folder of its package, folder of the raw types, form of their file names.
const RELEASES = {
  "9.4": { home: "s94", index: "dist/index.d.ts" },
  "10.4": { home: "s10", index: "dist/index.d.ts", raw: "dist/esm/raw", file: (name) => `${name}_types.gen` },
  "11.6": { home: "s11", index: "dist/esm/index.d.ts", raw: "dist/esm/raw", file: (name) => `${name}_types.gen` },
  "12.4": { home: "s12", index: "dist/types/index.d.ts", raw: "dist/types/raw", file: () => "types.gen" },
  "13.2": { home: "s13", index: "dist/types/index.d.ts", raw: "dist/types/raw", file: () => "types.gen" },
};
const PANELS = { timeseries: "TimeSeries", stat: "Stat", table: "Table", text: "Text" };

// What is asked of a release: name -> [import, type]. Version 9.4 does not publish its panels' options by themselves.
function wanted({ home, index, raw, file }) {
  if (!raw) {
    const from = `${home}/${index.replace(".d.ts", "")}`;
    return {
      dashboard: [from, "X.Dashboard"],
      timeseriesOptions: [from, "X.OptionsWithLegend & X.OptionsWithTooltip"],
      timeseriesFieldConfig: [from, "X.GraphFieldConfig"],
      tableFieldConfig: [from, "X.TableFieldOptions"],
    };
  }
  const types = { dashboard: [`${home}/${raw}/dashboard/x/${file("dashboard")}`, "X.Dashboard"] };
  for (const [name, title] of Object.entries(PANELS)) {
    const from = `${home}/${raw}/composable/${name}/panelcfg/x/${file(`${title}PanelCfg`)}`;
    types[`${name}Options`] = [from, "X.Options"];
    if (name === "timeseries" || name === "table") types[`${name}FieldConfig`] = [from, "X.FieldConfig"];
  }
  return types;
}

// Release -> folder of the package; the newest is made for Grafana 12 and 13.
const ALERTING = { "10.2": "f10", "11.6": "f11", "newest": "f13" };
const RULES = { alerting: ["Rule", "ContactPoint", "NotificationPolicy", "MuteTiming"], expr: ["TypeReduce", "TypeThreshold"] };

function schema(from, type, paths) {
  fs.writeFileSync("entry.ts", `import type * as X from "${from}";\nexport interface Entry { it: ${type} }\n`);
  const options = { module: "esnext", moduleResolution: "node10", ignoreDeprecations: "6.0", target: "es2022", skipLibCheck: true, strict: true, paths, baseUrl: "." };
  fs.writeFileSync("tsconfig.json", JSON.stringify({ compilerOptions: options, files: ["entry.ts"] }));
  const made = createGenerator({
    path: "entry.ts",
    tsconfig: "tsconfig.json",
    type: "Entry",
    skipTypeCheck: true,
    additionalProperties: false,
    topRef: false,
    expose: "all",
    jsDoc: "none",
    sortProps: true,
    functions: "hide",
  }).createSchema("Entry");
  return { ...made.properties.it, definitions: made.definitions };
}

function versionOf(home) {
  return JSON.parse(fs.readFileSync(`node_modules/${home}/package.json`)).version;
}

for (const [release, place] of Object.entries(RELEASES)) {
  const paths = { "@grafana/schema": [`./node_modules/${place.home}/${place.index}`] };
  const schemas = { version: versionOf(place.home) };
  for (const [name, [from, type]] of Object.entries(wanted(place))) schemas[name] = schema(from, type, paths);
  fs.writeFileSync(`${release}.json`, `${JSON.stringify(schemas, null, 1)}\n`);
}
for (const [release, home] of Object.entries(ALERTING)) {
  const schemas = { version: versionOf(home) };
  for (const [part, types] of Object.entries(RULES))
    for (const type of types) schemas[type] = schema(`${home}/dist/${part}/types.gen`, `X.${type}`, {});
  fs.writeFileSync(`alerting-${release}.json`, `${JSON.stringify(schemas, null, 1)}\n`);
}
fs.rmSync("entry.ts");
fs.rmSync("tsconfig.json");
