internal import Bytes
package import TensorModel

/// The chat templates of a model, in the order in which transformers looks for them.
package struct ChatTemplates: Sendable {
  /// A template and its name.
  package struct Template: Sendable, Hashable {
    /// The name; `default` for the usual template.
    package var name: String
    /// The text.
    package var text: String
  }

  /// The templates; no two have the same name.
  package private(set) var templates: [Template] = []
  /// Notes about templates that are left out.
  package private(set) var notes: [String] = []

  /// Names of llama.cpp's own templates, which its converter writes for models of Mistral.
  static let runtimeNames: Set<String> = [
    "mistral-v1", "mistral-v3", "mistral-v3-tekken", "mistral-v7", "mistral-v7-tekken",
  ]
  private static let usualName = "default"
  static let file = "chat_template.jinja"
  static let legacyFile = "chat_template.json"
  private static let suffix = ".jinja"
  private static let key = "chat_template"

  /// The text of the usual template; nil if there is none.
  package var usual: String? { templates.first { $0.name == Self.usualName }?.text }

  /// Finds the templates of a model.
  ///
  /// Throws `malformed` for files that are not UTF-8 or not JSON, and what reading throws.
  package init(_ companions: CompanionReader) throws(ModelError) {
    try self.init(
      companions, configuration: try companions.object(TokenizerFiles.configurationFile))
  }

  /// Finds the templates of a model whose tokenizer_config.json is known.
  ///
  /// Files with the suffix `.jinja` replace the value in tokenizer_config.json. The older file
  /// chat_template.json comes last.
  ///
  /// - Parameters:
  ///   - companions: The files of the model.
  ///   - configuration: Its tokenizer_config.json.
  /// - Throws: `malformed` for files that are not UTF-8 or not JSON, and what reading throws.
  init(_ companions: CompanionReader, configuration: JSONValue) throws(ModelError) {
    var sources = [try fileTemplates(companions)]
    for (file, document) in [
      (TokenizerFiles.configurationFile, configuration),
      (Self.legacyFile, try companions.object(Self.legacyFile)),
    ] {
      sources.append((file, stated(document, file)))
    }
    sources.removeAll { $0.templates.isEmpty }
    guard let first = sources.first else { return }
    templates = first.templates
    for other in sources.dropFirst() where Set(other.templates) != Set(templates) {
      notes.append(
        "the chat template of \(other.place) is left out: \(first.place) comes first, as in "
          + "transformers")
    }
    let keys = Set(templates.map { Self.escaped($0.name) })
    if keys.count < templates.count {
      notes.append(
        "left out \(templates.count - keys.count) of \(templates.count) chat templates, whose names "
          + "differ only in characters that a gguf key cannot have")
    }
    guard usual == nil else { return }
    let names = templates.prefix(3).map(\.name).joined(separator: ", ")
    notes.append(
      "no chat template is the default one: there \(templates.count == 1 ? "is" : "are") \(names)"
        + (templates.count > 3 ? " and \(templates.count - 3) more" : ""))
  }

  /// The templates that a JSON document such as tokenizer_config.json states.
  init(_ document: JSONValue, file: String) { templates = stated(document, file) }

  /// One template, which is the default one.
  init(usual text: String) { templates = [Template(name: Self.usualName, text: text)] }

  /// The templates in files of their own, and where they are.
  ///
  /// A default template in the folder of named ones replaces that beside it.
  private func fileTemplates(
    _ companions: CompanionReader
  ) throws(ModelError) -> (place: String, templates: [Template]) {
    let folder = CompanionName.templateFolder + "/"
    var found: [Template] = []
    if let text = try companions.text(of: Self.file) {
      found.append(Template(name: Self.usualName, text: text))
    }
    let place = found.isEmpty ? CompanionName.templateFolder : Self.file
    for name in companions.names where name.hasPrefix(folder) && name.hasSuffix(Self.suffix) {
      guard let text = try companions.text(of: name) else { continue }
      let stem = name.dropFirst(folder.count).dropLast(Self.suffix.count)
      found.append(Template(name: String(stem), text: text))
    }
    return (place, Self.unique(found))
  }

  /// The templates that a JSON document states: a text, or texts with names.
  private mutating func stated(_ document: JSONValue, _ file: String) -> [Template] {
    let found: [Template?]
    switch document[Self.key] {
    case .string(let text): return [Template(name: Self.usualName, text: text)]
    case .array(let choices):
      found = choices.map { choice in
        guard let name = choice["name"]?.string, let text = choice["template"]?.string else {
          return nil
        }
        return Template(name: name, text: text)
      }
    case .object(let members):
      found = members.map { member in
        member.value.string.map { Template(name: member.key, text: $0) }
      }
    default: return []
    }
    let usable = found.compactMap(\.self).filter { !$0.name.isEmpty }
    if usable.count < found.count {
      let count = found.count - usable.count
      notes.append(
        "left out \(count) chat template\(count == 1 ? "" : "s") of \(file) without a name or a text"
      )
    }
    return Self.unique(usable)
  }

  /// The templates with the last text of each name, in the order of first occurrence.
  private static func unique(_ found: [Template]) -> [Template] {
    var templates: [Template] = []
    var indices: [ExactName: Int] = [:]
    for template in found {
      let name = ExactName(template.name)
      if let index = indices[name] {
        templates[index] = template
      } else {
        indices[name] = templates.count
        templates.append(template)
      }
    }
    return templates
  }
}

// MARK: - GGUF

extension ChatTemplates {
  static let metadataKey = "tokenizer.chat_template"
  private static let namesKey = "tokenizer.chat_templates"

  /// The text of the usual template in the metadata of a GGUF file; nil if there is none.
  package static func usual(in metadata: Metadata) -> String? { metadata[metadataKey]?.text }

  /// Whether a metadata key belongs to chat templates: their texts, and the list of their names.
  package static func isKey(_ key: String) -> Bool {
    key == metadataKey || key == namesKey || key.hasPrefix(metadataKey + ".")
  }

  /// Adds the templates to the metadata of a llama.cpp model.
  ///
  /// Of several templates with the same key, the first is written.
  func write(to metadata: inout Metadata) {
    var names: [String] = []
    var seen: Set<String> = []
    for template in templates where template.name != Self.usualName {
      let name = Self.escaped(template.name)
      guard seen.insert(name).inserted else { continue }
      names.append(name)
      metadata.append("\(Self.metadataKey).\(name)", .text(template.text))
    }
    if !names.isEmpty {
      var bytes: [UInt8] = []
      for name in names { GGUFMetadata.append(text: Array(name.utf8), to: &bytes) }
      metadata.append(
        Self.namesKey,
        .array(MetadataArray(elementType: .string, count: names.count, bytes: bytes)))
    }
    if let usual { metadata.append(Self.metadataKey, .text(usual)) }
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
