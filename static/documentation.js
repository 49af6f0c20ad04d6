// Starts Swagger UI on /docs/. It asks nobody but this gateway: no validator, and no address but this one's.
// A token of `oauth2` opens nothing under /v1, it is what an OAuth library is told in the document: nobody authorizes
// himself by it here.
const withoutOAuth = () => ({
  statePlugins: {
    auth: {
      wrapSelectors: {
        definitionsToAuthorize: (original) => (...given) => original(...given)?.filter((scheme) => !scheme.has("oauth2")),
      },
    },
  },
});
// The example of NDJSON is its lines as they are: Swagger UI would quote them, as one string of JSON.
const linesAsTheyAre = () => ({
  afterLoad(system) {
    const samples = system.fn.jsonSchema202012;
    const { getJsonSampleSchema } = samples;
    samples.getJsonSampleSchema = (schema, config, type, example) =>
      type === "application/x-ndjson" && typeof example === "string"
        ? example
        : getJsonSampleSchema(schema, config, type, example);
  },
});
const documentation = document.getElementById("documentation");
SwaggerUIBundle({
  domNode: documentation,
  url: documentation.dataset.document,
  validatorUrl: null,
  deepLinking: true,
  docExpansion: "list",
  persistAuthorization: false,
  plugins: [withoutOAuth, linesAsTheyAre],
});
