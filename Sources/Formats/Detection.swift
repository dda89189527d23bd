internal import Bytes
internal import SystemPackage
internal import TensorModel

/// Finds out what format a file has, from its first bytes rather than its name.
enum Detection {
  /// The format of the files of a place.
  ///
  /// Throws `malformed` with what the file seems to be.
  static func format(of place: ModelPlace) throws(ModelError) -> Format {
    for path in place.files { try checkDownload(of: path) }
    let file = try InputFile(place.files[0])
    let head = try file.bytes(at: 0, count: min(64, file.byteCount))
    if let format = Formats.all.first(where: { $0.container.recognizes(head) }) { return format }
    // A damaged file is judged by the reader of its suffix, which says what is wrong.
    if let suffix = file.path.extension,
      let format = Formats.all.first(where: { $0.container.suffixes.contains(suffix) })
    {
      return format
    }
    let isPickle = head.starts(with: Array("PK".utf8)) || head.starts(with: [0x80, 0x02])
    throw ModelError(
      isPickle ? .unsupported : .malformed, "not a model that Pleat reads", file: file.path.string,
      expected: Formats.all.map(\.name).joined(separator: ", "),
      found: isPickle ? "a PyTorch pickle" : nil,
      hint: isPickle ? "save it with model.save_pretrained(path), as safetensors" : nil)
  }

  /// The format of the same container that `config.json` asks for, or else the one given.
  ///
  /// Throws `malformed` and `unsupported` for a config that makes no sense.
  static func refined(
    _ format: Format, _ reader: any StoredReader
  ) throws(ModelError) -> Format {
    guard format == .safetensors, let config = try configuration(reader) else { return format }
    let contents = reader.contents
    for other in Formats.all where other.container == format.container {
      if let spelling = try other.spelling.configured(by: config, contents) {
        var refined = other
        refined.spelling = spelling
        return refined
      }
    }
    if let method = config[GPTQConfig.key]?["quant_method"]?.string {
      throw ModelError(
        .unsupported, "the weights are quantized in a way that Pleat does not read",
        found: "quant_method \(method) in config.json", hint: "start from the 16-bit model")
    }
    return format
  }

  /// The `config.json` of a model, with what an older tool wrote beside it.
  private static func configuration(
    _ reader: any StoredReader
  ) throws(ModelError) -> JSONValue? {
    let config = try document("config.json", reader)
    guard config?[GPTQConfig.key] == nil,
      case .object(var members)? = try document(GPTQConfig.fileName, reader)
    else { return config }
    if !members.contains(where: { $0.key == "quant_method" || $0.key == "method" }) {
      members.append(.init("quant_method", "gptq"))
    }
    return .object((config?.members ?? []) + [.init(GPTQConfig.key, .object(members))])
  }

  private static func document(
    _ name: String, _ reader: any StoredReader
  ) throws(ModelError) -> JSONValue? {
    let limits = ReadLimits()
    guard let index = reader.companions.firstIndex(where: { $0.name == name }),
      reader.companions[index].byteCount <= limits.headerByteCount
    else { return nil }
    var bytes = [UInt8](repeating: 0, count: reader.companions[index].byteCount)
    try bytes.change(0..<bytes.count) { (span) throws(ModelError) in
      try reader.readCompanion(index, at: 0, into: &span)
    }
    // A model is read by its tensors; a config that is no JSON is for others to complain about.
    return try? JSONParser.parse(bytes, file: name)
  }

  /// Throws `malformed` for what download tools leave where a model should be.
  private static func checkDownload(of path: FilePath) throws(ModelError) {
    let file = try InputFile(path)
    let head = try file.bytes(at: 0, count: min(256, file.byteCount))
    guard !head.isEmpty else {
      throw ModelError(
        .malformed, "the file is empty", file: path.string, hint: "perhaps a failed download")
    }
    let text = String(decoding: head, as: UTF8.self)
    if text.hasPrefix("version https://git-lfs") {
      throw ModelError(
        .malformed, "this is a Git LFS pointer, not the file itself", file: path.string,
        hint: "run: git lfs pull")
    }
    let start = text.drop { $0.isWhitespace }.prefix(15).lowercased()
    if start.hasPrefix("<!doctype") || start.hasPrefix("<html") {
      throw ModelError(
        .malformed, "this is an HTML page, not a model", file: path.string,
        hint: "the download gave a web page: check the address and your access rights")
    }
  }
}
