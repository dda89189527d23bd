internal import Bytes
internal import Formats
internal import TensorModel

/// The tokens that a tokenizer adds before and after a text.
struct TextEnds: Sendable, Hashable {
  private(set) var before: [Int32] = []
  private(set) var after: [Int32] = []

  /// Finds them as transformers does.
  ///
  /// The post-processor states them. Files that have none state `add_bos_token` and `add_eos_token`
  /// instead, but beside tokenizer.json these do not count. Throws `unsupported` for post-processors
  /// that Pleat does not know, and `malformed`.
  init(_ definition: TokenizerDefinition) throws(ModelError) {
    let fast = definition.fast
    let processor = fast.parts["post_processor"] ?? .null
    if processor != .null || fast.source == FastTokenizer.file {
      try append(processor, fast.source)
      return
    }
    func id(_ kind: String) -> [Int32] {
      guard definition.configuration["add_\(kind)_token"]?.bool == true,
        let id = definition.id(of: kind)
      else { return [] }
      return [Int32(clamping: id)]
    }
    (before, after) = (id("bos"), id("eos"))
  }

  private mutating func append(_ value: JSONValue, _ file: String) throws(ModelError) {
    switch value["type"]?.string {
    case nil, "ByteLevel": break
    case "Sequence":
      for part in value["processors"]?.array ?? [] { try append(part, file) }
    case "TemplateProcessing": try appendTemplate(value, file)
    case "RobertaProcessing", "BertProcessing":
      before = [try Self.id(value["cls"]?.array?.last, file)] + before
      after.append(try Self.id(value["sep"]?.array?.last, file))
    case let type?:
      throw ModelError(
        .unsupported, "Pleat does not know what this tokenizer adds to texts", file: file,
        tensor: "post_processor", expected: "TemplateProcessing", found: type)
    }
  }

  private mutating func appendTemplate(
    _ value: JSONValue, _ file: String
  ) throws(ModelError) {
    var first: [Int32] = []
    var isBefore = true
    for part in value["single"]?.array ?? [] {
      guard let name = part["SpecialToken"]?["id"]?.string else {
        isBefore = false
        continue
      }
      for id in value["special_tokens"]?[name]?["ids"]?.array ?? [.null] {
        let id = try Self.id(id, file)
        if isBefore { first.append(id) } else { after.append(id) }
      }
    }
    before = first + before
  }

  private static func id(_ value: JSONValue?, _ file: String) throws(ModelError) -> Int32 {
    guard let id = value?.int.flatMap({ Int32(exactly: $0) }), id >= 0 else {
      throw ModelError(
        .malformed, "a token that is added to texts has no id", file: file,
        tensor: "post_processor")
    }
    return id
  }
}
