internal import Bytes
package import TensorModel

/// A file with the chat templates of a model.
package enum ChatTemplateFile {
  /// The chat templates in a file, as metadata for llama.cpp.
  ///
  /// - Parameters:
  ///   - bytes: The file: the text of one template, or a JSON object such as tokenizer_config.json.
  ///   - path: The path, which ends in `.json` if the file is JSON.
  /// - Returns: Entries whose keys begin with `tokenizer.chat_template`.
  /// - Throws: `malformed` if the file is not UTF-8, not JSON, or has no template.
  package static func metadata(
    _ bytes: [UInt8], path: String
  ) throws(ModelError) -> Metadata {
    var metadata = Metadata()
    try templates(bytes, path).write(to: &metadata)
    guard !metadata.entries.isEmpty else {
      throw ModelError(
        .malformed, "the file has no chat template", file: path,
        expected: "chat_template, a text or a list of templates with names")
    }
    return metadata
  }

  private static func templates(
    _ bytes: [UInt8], _ path: String
  ) throws(ModelError) -> ChatTemplates {
    if path.hasSuffix(".json") {
      let document = try JSONParser.parse(bytes, file: path, allowingNonFinite: true)
      for choice in document["chat_template"]?.array ?? []
      where choice["name"]?.string == nil || choice["template"]?.string == nil {
        throw ModelError(
          .malformed, "a chat template has no name or no text", file: path, tensor: "chat_template",
          expected: "objects with name and template")
      }
      return ChatTemplates(document, file: path)
    }
    guard !bytes.isEmpty, let text = String(validating: bytes, as: UTF8.self) else {
      throw ModelError(
        .malformed, "the file is not a chat template", file: path, expected: "text in UTF-8",
        found: bytes.isEmpty ? "an empty file" : nil)
    }
    return ChatTemplates(usual: text)
  }
}
