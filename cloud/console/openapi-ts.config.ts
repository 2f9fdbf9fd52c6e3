import { defineConfig } from "@hey-api/openapi-ts";

// The client is made of the cloud's own description and is never edited or committed.
export default defineConfig({
  input: "openapi.json",
  output: { path: "src/api" },
  plugins: [{ name: "@hey-api/client-fetch", baseUrl: false }, "@hey-api/typescript", "@hey-api/sdk", "@tanstack/react-query"],
});
