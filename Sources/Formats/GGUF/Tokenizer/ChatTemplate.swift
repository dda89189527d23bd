internal import Bytes
internal import TensorModel

/// Writes the chat templates of a model as metadata.
enum ChatTemplate {
  static let key = "tokenizer.chat_template"
  static let namesKey = "tokenizer.chat_templates"

  /// Adds chat templates to metadata: one text, or several texts with names.
  ///
  /// tokenizer_config.json takes precedence over a separate file, as in llama.cpp's converter.
  static func write(_ files: TokenizerFiles, to metadata: inout Metadata) {
    write(files.configuration["chat_template"] ?? files.chatTemplate, to: &metadata)
  }

  /// Adds a chat template, as `chat_template` of tokenizer_config.json states it, to metadata.
  ///
  /// It is a text, or a list of texts with names. Anything else adds nothing.
  static func write(_ template: JSONValue?, to metadata: inout Metadata) {
    switch template {
    case .string(let text): metadata.append(key, .text(text))
    case .array(let choices): write(choices, to: &metadata)
    default: break
    }
  }

  private static func write(_ choices: [JSONValue], to metadata: inout Metadata) {
    var normal: String?
    var names: [String] = []
    var seen: Set<String> = []
    for choice in choices {
      guard let name = choice["name"]?.string.map(escaped), !name.isEmpty,
        let template = choice["template"]?.string
      else { continue }
      if name == "default" {
        normal = template
      } else if seen.insert(name).inserted {
        names.append(name)
        metadata.append("\(key).\(name)", .text(template))
      }
    }
    if !names.isEmpty {
      var bytes: [UInt8] = []
      for name in names { GGUFMetadata.append(text: Array(name.utf8), to: &bytes) }
      metadata.append(
        namesKey,
        .array(MetadataArray(elementType: .string, count: names.count, bytes: bytes)))
    }
    if let normal { metadata.append(key, .text(normal)) }
  }

  // Characters of a name other than ASCII letters and digits become underscores in the key.
  private static func escaped(_ name: String) -> String {
    String(
      String.UnicodeScalarView(
        name.unicodeScalars.map {
          $0.isASCII && ($0.properties.isAlphabetic || $0.properties.numericType != nil) ? $0 : "_"
        }))
  }
}
