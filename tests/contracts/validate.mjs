// Reads AsyncAPI documents named on the command line; prints what is wrong with them and ends with 1, else with 0.
import { readFile } from 'node:fs/promises';
import { DiagnosticSeverity, Parser } from '@asyncapi/parser';

const parser = new Parser();
let failed = false;
for (const path of process.argv.slice(2)) {
  const { document, diagnostics } = await parser.parse(await readFile(path, 'utf8'));
  for (const { severity, path: at, message } of diagnostics) {
    const level = DiagnosticSeverity[severity].toLowerCase();
    if (severity <= DiagnosticSeverity.Warning) console.error(`${path}: ${level} at ${at.join('.')}: ${message}`);
    failed ||= severity === DiagnosticSeverity.Error;
  }
  failed ||= document === undefined;
  if (document) {
    const channels = document.channels().all();
    const messages = document.messages().all();
    console.log(JSON.stringify({ version: document.version(), channels: channels.length, messages: messages.length }));
  }
}
process.exitCode = failed ? 1 : 0;
