// The service's OpenAPI document as a page to read.

import { element } from "./shade.js";

const $ = (id) => document.getElementById(id);
let schemas = {};

async function start() {
  const answer = await fetch("openapi.json");
  const { info, paths, components } = await answer.json();
  schemas = components?.schemas ?? {};
  $("title").textContent = `${info.title} ${info.version}`;
  $("summary").textContent = info.summary ?? "";
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, route] of Object.entries(methods)) add(method.toUpperCase(), path, route);
  }
  for (const [name, schema] of Object.entries(schemas)) addSchema(name, schema);
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

function add(method, path, route) {
  const id = route.operationId;
  const link = element("a", "", element("code", "", `${method} ${path}`));
  link.href = `docs#${id}`;
  $("contents").append(element("li", "", link, ` ${route.summary ?? ""}`));
  const title = element("h2", "", element("code", "", `${method} ${path}`));
  title.id = id;
  const body = Object.entries(route.requestBody?.content ?? {});
  $("routes").append(
    element(
      "section",
      "route",
      title,
      ...paragraphs(route.description ?? route.summary ?? ""),
      ...part("Parameters", fields((route.parameters ?? []).map(parameterRow))),
      ...body.flatMap(([type, content]) => part(`Body: ${type}`, ...bodyParts(content))),
      ...part("Try it", element("pre", "", element("code", "", curl(method, path, body)))),
      ...answers(Object.entries(route.responses ?? {})),
    ),
  );
}

function addSchema(name, schema) {
  const title = element("h2", "", element("code", "", name));
  title.id = `schema-${name}`;
  const told = paragraphs(schema.description ?? "");
  $("routes").append(element("section", "route", title, ...told, properties(schema) ?? ""));
}

/** A heading with what stands under it, or nothing where that is nothing. */
function part(title, ...content) {
  const there = content.filter(Boolean);
  return there.length ? [element("h3", "", title), ...there] : [];
}

/** The answers with what they hold; errors are all problems, so these in one line. */
function answers(responses) {
  const errors = responses.filter(([status]) => status >= "400").map(([status]) => status);
  const told = `${errors.join(", ")}, each as \`application/problem+json\` whose \`detail\` says why.`;
  const good = responses.filter(([status]) => status < "400");
  return [
    ...good.flatMap(([status, one]) => answer(status, one)),
    ...(errors.length ? part("Errors", ...paragraphs(told)) : []),
  ];
}

function answer(status, { description, content = {} }) {
  const told = Object.entries(content).filter(([, { schema }]) => Object.keys(schema ?? {}).length);
  const types = told.map(([type]) => type).join(", ");
  const tables = told.map(([, { schema }]) => properties(schema));
  // What FastAPI writes where nothing is written.
  const said = description === "Successful Response" ? "" : description;
  return part(`Answer ${status}${types && `: ${types}`}`, ...paragraphs(said), ...tables);
}

function bodyParts({ schema, example }) {
  const examples = example ? [example] : (resolve(schema).examples ?? []);
  const written = examples.map((one) => (typeof one === "string" ? one : JSON.stringify(one)));
  return [properties(schema), ...written.map((one) => element("pre", "", element("code", "", one)))];
}

function curl(method, path, body) {
  const [[type, { schema, example }] = [null, {}]] = body;
  const sent = example ?? resolve(schema).examples?.[0];
  const verb = ["GET", "POST"].includes(method) ? "" : `-X ${method} `;
  const parts = [`curl -s ${verb}${new URL(`.${path}`, document.baseURI)}`];
  if (type && type !== "application/json") parts.push(`-H 'Content-Type: ${type}'`);
  if (sent !== undefined) {
    const text = typeof sent === "string" ? sent : JSON.stringify(sent);
    parts.push(`--data-binary ${quoted(text)}`);
  }
  return parts.join(" \\\n  ");
}

/** A text as a word of the shell. */
function quoted(text) {
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replaceAll("\n", "\\n");
  return escaped === text ? `'${text}'` : `$'${escaped}'`;
}

function parameterRow({ name, in: place, required, schema, description }) {
  return [name, `${typeOf(schema)}, ${place}`, required, description, schema.default];
}

/** The members of an object, or of the objects in a list. */
function properties(schema) {
  const { properties: members = {}, required = [] } = resolve(schema);
  const rows = Object.entries(members).map(([name, one]) => [
    name,
    typeOf(one),
    required.includes(name),
    one.description ?? resolve(one).description,
    one.default,
  ]);
  return fields(rows);
}

function fields(rows) {
  if (!rows.length) return null;
  const made = rows.map(([name, type, required, description = "", preset]) => {
    const title = element("th", "", element("code", "", name));
    title.scope = "row";
    const needed = required ? ", required" : (preset ?? "") === "" ? "" : `, default ${preset}`;
    const meaning = element("td", "", ...coded(description));
    return element("tr", "", title, element("td", "quiet", ...coded(`${type}${needed}`)), meaning);
  });
  return element("table", "fields", element("tbody", "", ...made));
}

function resolve(schema = {}) {
  if (schema.$ref) return resolve(schemas[schema.$ref.split("/").at(-1)]);
  if (schema.items) return resolve(schema.items);
  const choices = (schema.anyOf ?? []).filter(({ type }) => type !== "null");
  return choices.length === 1 ? resolve(choices[0]) : schema;
}

function typeOf(schema = {}) {
  if (schema.$ref) return `\`${schema.$ref.split("/").at(-1)}\``;
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  return schema.type ?? "anything";
}

/** Paragraphs of a description, code between backticks. */
function paragraphs(text) {
  return text.split(/\n{2,}/).filter(Boolean).map((one) => element("p", "", ...coded(one)));
}

function coded(text) {
  return text.split("`").map((one, index) => (index % 2 ? code(one) : one));
}

/** Code; the name of a schema leads to it. */
function code(text) {
  if (!(text in schemas)) return element("code", "", text);
  const link = element("a", "", element("code", "", text));
  link.href = `docs#schema-${text}`;
  return link;
}

start().catch((error) => {
  $("status").textContent = `openapi.json could not be read: ${error.message}`;
});
