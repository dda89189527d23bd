internal import Bytes
internal import Formats
internal import SystemPackage
internal import TensorModel

/// Detects the format of a model, by its first bytes before its file name.
enum Detection {
  /// The format of the files of a model.
  ///
  /// Throws `io`, and `malformed` or `unsupported` with what the file seems to be.
  static func format(of files: ModelFiles) throws(ModelError) -> Format {
    for path in files.files { try checkDownload(of: path) }
    let file = try InputFile(files.files[0])
    let head = try file.bytes(at: 0, count: min(64, file.byteCount))
    if let format = Formats.all.first(where: { $0.container.recognizes(head) }) { return format }
    // The extension selects the reader of a damaged file, which then reports what is wrong.
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

  /// The format that `config.json` describes, with notes for the user.
  ///
  /// It has the same container as the given format. If the config describes none, it is the given
  /// format. Throws `malformed` and `unsupported` for invalid configs, and what reading throws.
  static func refined(
    _ format: Format, _ reader: any StoredReader
  ) throws(ModelError) -> (format: Format, notes: [String]) {
    guard format == .safetensors, let config = try configuration(reader) else {
      return (format, [])
    }
    let contents = reader.contents
    for other in Formats.all where other.container == format.container {
      if let found = try other.dialect?.codec(for: config, contents) {
        var refined = other
        refined.codec = found.codec
        return (refined, found.notes)
      }
    }
    if let method = config[QuantizationKeys.huggingFace]?["quant_method"]?.string {
      throw ModelError(
        .unsupported, "the weights are quantized in a way that Pleat does not read",
        found: "quant_method \(method) in config.json", hint: "start from the 16-bit model")
    }
    return (format, [])
  }

  /// The `config.json` of a model; an older tool's `quantize_config.json` is added to it.
  private static func configuration(
    _ reader: any StoredReader
  ) throws(ModelError) -> JSONValue? {
    let config = try document("config.json", reader)
    guard config?[QuantizationKeys.huggingFace] == nil,
      case .object(var members)? = try document(QuantizationKeys.gptqFileName, reader)
    else { return config }
    if !members.contains(where: { $0.key == "quant_method" || $0.key == "method" }) {
      members.append(.init("quant_method", "gptq"))
    }
    return .object(
      (config?.members ?? []) + [.init(QuantizationKeys.huggingFace, .object(members))])
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
    // The tensors can be read without the config. Code that needs it reports that it is not JSON.
    return try? JSONParser.parse(bytes, file: name)
  }

  /// Throws `malformed` for files that failed downloads leave instead of a model.
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
