import { defineConfig } from "i18next-cli";

export default defineConfig({
  locales: ["en", "zh"],
  extract: {
    input: ["src/**/*.{ts,tsx}"],
    ignore: ["src/api/**"],
    output: "src/locales/{{language}}.json",
    defaultNS: false,
    // Keys that are put together from a word of the API.
    preservePatterns: ["presence.*", "command.status.*", "command.type.*", "command.field.*", "role.*", "live.*", "range.*", "mute.for.*", "gateway.member.*", "hold.for.*", "hold.priority.*", "alarm.severity.*", "alarm.state.*", "alarm.what.*", "instance.kind.*", "instance.outcome.*", "instance.request.*", "instance.status.*", "workflow.view.*", "rule.atGateway.*", "rule.effect.*", "rule.mode.*", "rule.of.*", "rule.part.*", "rule.placement.*", "rule.since.*", "rule.view.*"],
    disablePlurals: true,
    sort: true,
  },
});
