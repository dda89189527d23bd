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
    let other = file.path.extension == "npz" ? OtherFile.arrays : OtherFile(head)
    throw ModelError(
      other == nil ? .malformed : .unsupported, "not a model that Pleat reads",
      file: file.path.string, expected: Formats.all.map(\.name).joined(separator: ", "),
      found: other?.rawValue, hint: other?.hint)
  }

  /// A kind of file that Pleat knows but does not read.
  private enum OtherFile: String {
    case pickle = "a PyTorch pickle"
    case arrays = "an archive of NumPy arrays"
    case importanceMatrix = "an importance matrix of llama-imatrix"

    /// Recognizes a file by its first bytes; nil for any other file.
    init?(_ head: [UInt8]) {
      // A pickle begins with its protocol, or is in a zip archive.
      let isPickle = head.count > 1 && head[0] == 0x80 && 2...5 ~= head[1]
      if isPickle || head.starts(with: Array("PK".utf8)) {
        self = .pickle
      } else if ImportanceMatrix.recognizes(head) {
        self = .importanceMatrix
      } else {
        return nil
      }
    }

    var hint: String {
      switch self {
      case .pickle: "save it with model.save_pretrained(path), as safetensors"
      case .arrays: "load it in MLX or NumPy and save its arrays as safetensors"
      case .importanceMatrix: "name the model that it was measured on"
      }
    }
  }

  /// What the config of a checkpoint says about the quantization of its weights.
  struct Refinement {
    /// The format that the config describes; the given one if it describes none.
    var format: Format
    /// Notes for the user.
    var notes: [String] = []
    /// Why the weights cannot be decoded as the config describes them; nil if they can.
    var fault: ModelError?
    /// The note instead of `fault` if no tensor holds packed words; nil if `fault` stands anyway.
    var noteIfPlain: String?
    /// Why `config.json` cannot be read; nil if it can.
    var configFault: ModelError?
    /// What the config says about codes with scales; nil if it is not of a tool that makes them.
    var scaled: ScaledConfig?

    /// Adds that some weights are codes with scales, which explain the description.
    mutating func decodes(_ count: Int, notes: [String]) {
      self.notes += notes
      guard count > 0 else { return }
      (fault, noteIfPlain) = (nil, nil)
    }

    /// Why the model cannot be read as numbers, and the notes for the user.
    ///
    /// `packed` is the error for the first tensor with packed words; nil without one.
    func verdict(packed: ModelError?) -> (fault: ModelError?, notes: [String]) {
      guard let packed else {
        // Plain numbers need no config here; whatever needs it reports that it cannot be read.
        return noteIfPlain.map { (nil, notes + [$0]) } ?? (fault, notes)
      }
      var error = configFault ?? fault ?? packed
      error.tensor = error.tensor ?? packed.tensor
      error.hint = error.hint ?? "start from the 16-bit model"
      return (error, notes)
    }
  }

  /// Finds the description of the quantization, and the format of that name.
  ///
  /// The format has the same container as the given one. Throws what reading files throws; faults
  /// of the config are returned, because headers can be shown without it.
  static func refined(
    _ format: Format, _ reader: any StoredReader, file: String
  ) throws(ModelError) -> Refinement {
    var result = Refinement(format: format)
    guard format == .safetensors else { return result }
    let description: QuantizationDescription?
    do throws(ModelError) {
      description = try Self.description(of: reader, file: file)
    } catch {
      guard error.kind != .io else { throw error }
      result.configFault = error
      return result
    }
    guard let description else { return result }
    do throws(ModelError) {
      if let (format, notes) = try configured(description.config, format, reader.contents) {
        (result.format, result.notes) = (format, notes)
        result.scaled = ScaledConfig(description.config)
        return result
      }
    } catch {
      guard error.kind == .unsupported else { throw error }
      result.fault = error
      return result
    }
    result.scaled = ScaledConfig(description.config)
    guard let method = description.method else { return result }
    // Their groups need no format, because Pleat does not write them.
    if let codec = ReadGroupsCodec(method: method, reader.metadata) { result.format.codec = codec }
    let statement = "quant_method \(method) in \(description.place)"
    result.fault = ModelError(
      .unsupported, "the weights are quantized in a way that Pleat does not read",
      found: statement + (description.obstacle.map { ", \($0)" } ?? ""),
      hint: "start from the 16-bit model")
    if storageMethods.contains(method.lowercased()) {
      result.noteIfPlain = "\(statement) is left out, because no weight is quantized"
    }
    return result
  }

  private static func description(
    of reader: any StoredReader, file: String
  ) throws(ModelError) -> QuantizationDescription? {
    try QuantizationDescription(try document("config.json", reader, file: file)) {
      (name) throws(ModelError) in
      try document(name, reader, file: file)
    }
  }

  /// The format whose dialect a config is written in, with notes; nil if it is none of them.
  private static func configured(
    _ config: JSONValue, _ format: Format, _ contents: StoredContents
  ) throws(ModelError) -> (format: Format, notes: [String])? {
    for var other in Formats.all where other.container == format.container {
      guard let found = try other.dialect?.codec(for: config, contents) else { continue }
      other.codec = found.codec
      return (other, found.notes)
    }
    return nil
  }

  /// Methods that change only how weights are stored.
  ///
  /// A model that states one of them and stores plain numbers was decoded. Other methods may compute
  /// with plain numbers in another way.
  private static let storageMethods: Set<String> = [
    "bitsandbytes", "fp8", "fbgemm_fp8", "mxfp4", "hqq", "quanto", "eetq", "auto-round", "modelopt",
  ]

  private static func document(
    _ name: String, _ reader: any StoredReader, file: String
  ) throws(ModelError) -> JSONValue? {
    let limits = ReadLimits()
    guard let index = reader.companions.firstIndex(where: { $0.name == name }),
      reader.companions[index].byteCount <= limits.headerByteCount
    else { return nil }
    var bytes = [UInt8](repeating: 0, count: reader.companions[index].byteCount)
    try bytes.change(0..<bytes.count) { (span) throws(ModelError) in
      try reader.readCompanion(index, at: 0, into: &span)
    }
    return try JSONParser.parse(
      bytes, file: Model.path(of: name, in: file), allowingNonFinite: true)
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
