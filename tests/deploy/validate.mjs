// Checks custom resources against the schemas of their operators: a JSON list on standard input, what
// is wrong on standard output, as a list of sentences.
import { readFileSync } from "node:fs";

import { HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

const models = { HTTPRoute, ServiceMonitor };
const problems = [];
for (const resource of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    new models[resource.kind](resource).validate();
  } catch (error) {
    problems.push(`${resource.kind}: ${error.message}`);
  }
}
console.log(JSON.stringify(problems));
