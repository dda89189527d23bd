internal import Bytes
public import Formats
internal import Kernels
internal import SystemPackage
public import TensorModel

/// What will happen to a tensor.
public enum Action: Sendable, Hashable {
  /// Its bytes are copied.
  case copy
  /// It is rounded to groups with the scheme named.
  case quantize(Grouping, scheme: String)
  /// It becomes plain numbers of a type.
  case decode(ScalarType)
  /// Codes, scales and biases are carried over unchanged into the target's spelling.
  case respell
}

/// The plan for one tensor.
public struct TensorPlan: Sendable, Hashable {
  /// The tensor as it is in the source.
  public var source: TensorInfo
  /// The tensor as it will be.
  public var target: TensorInfo
  /// What happens in between.
  public var action: Action
  /// Why, in a few words.
  public var reason: String
  /// Whether it was to be quantized, and is kept since no group divides its rows.
  public internal(set) var isIndivisible = false
}

/// What a run will do: a pure value, printable, made without reading a weight.
public struct Plan: Sendable {
  /// The model that is read.
  public let model: Model
  /// The format that is written.
  public let format: Format
  /// One entry for each tensor, in the order of the source.
  public let tensors: [TensorPlan]
  /// What a user should know before it happens.
  public let notes: [String]
  /// The length of all files to be written; an upper bound unless `isExact`.
  public let byteCount: Int
  /// Whether `byteCount` is exact.
  public let isExact: Bool
  /// The files to be written, relative to the folder they will be in.
  public let fileNames: [String]

  package let layout: any OutputLayout
  package let companions: [Int]  // indices in the source
  package let firstParts: [Int]  // for each tensor the index of its first stored tensor
  package let blocks: [Cut]  // for each tensor how it is cut

  /// The number of weights in all tensors.
  public var elementCount: Int { model.catalog.elementCount }

  /// Bits for each weight of the output, all tensors together.
  public var bitsPerWeight: Double {
    let bytes = tensors.reduce(0) { sum, plan in
      sum + format.spelling.parts(of: plan.target).reduce(0) { $0 + $1.byteCount }
    }
    return elementCount == 0 ? 0 : Double(bytes) * 8 / Double(elementCount)
  }

  /// The first and the last file of a split set; nil for one file, or a folder of files.
  public var splitName: String? {
    guard layout.folder == nil, fileNames.count > 1, let first = fileNames.first,
      let last = fileNames.last
    else { return nil }
    return "\(first) … \(last)"
  }

  /// Bits for each weight of what was written: fewer than planned where it was compressed.
  public func bitsPerWeight(of size: WrittenSize) -> Double {
    elementCount == 0 ? 0 : Double(size.tensorByteCount) * 8 / Double(elementCount)
  }
}

extension Plan {
  /// Puts decisions about tensors together with the places of their bytes.
  ///
  /// Throws `usage` and `unsupported` for what the format cannot hold.
  init(
    _ model: Model, _ tensors: [TensorPlan], to destination: Destination, notes: [String],
    history: JSONValue, rounding: Bool = false
  ) throws(ModelError) {
    try destination.check()
    let format = destination.format
    var stored: [StoredTensor] = []
    var firstParts: [Int] = []
    var blocks: [Cut] = []
    var tensors = tensors
    for (index, plan) in tensors.enumerated() {
      try Self.check(format.admits(plan.target), plan, rounding: rounding)
      // What is carried over is copied only where both sides spell it alike.
      if plan.action == .copy, plan.source.isGrouped, model.format != format {
        tensors[index].action = .respell
      }
      let plan = tensors[index]
      var parts = format.spelling.parts(of: plan.target)
      let cut = Cut(plan, source: model.parts(of: index), target: parts)
      for part in parts.indices {
        parts[part].blockByteCount = max(1, cut.unitsPerBlock * cut.target[part])
      }
      firstParts.append(stored.count)
      blocks.append(cut)
      stored += parts
    }
    let known = model.reader.provenance?.history ?? []
    let contents = Contents(
      stored: stored, metadata: Self.metadata(of: model, tensors),
      companions: model.catalog.companions,
      provenance: Provenance(sources: Self.expectedSources(model), history: known + [history]))
    let options = WriteOptions(
      path: FilePath(destination.path), shardByteCount: destination.shardByteCount,
      compresses: destination.compresses)
    do throws(ModelError) {
      layout = try format.container.layout(contents, options)
    } catch {
      throw error.located(file: model.path)
    }
    try destination.check(layout, against: model)
    self.model = model
    self.format = format
    self.tensors = tensors
    companions = layout.holdsCompanions ? Array(model.catalog.companions.indices) : []
    self.firstParts = firstParts
    self.blocks = blocks
    self.notes = notes + Self.losses(of: model, in: layout, format)
    byteCount = layout.byteCount
    isExact = layout.isExact
    fileNames = layout.fileNames
  }

  private static func check(
    _ admission: Admission, _ plan: TensorPlan, rounding: Bool
  ) throws(ModelError) {
    switch admission {
    case .exact: break
    case .rounded where rounding: break
    case .rounded(let reason):
      throw ModelError(
        .unsupported, "the format holds the weight only rounded: \(reason)",
        tensor: plan.source.name, hint: "pleat convert --round permits it")
    case .refused(let reason):
      throw ModelError(.unsupported, reason, tensor: plan.source.name)
    }
  }

  /// Sources with checksums that will be known after they were read; they take the same space.
  private static func expectedSources(_ model: Model) -> [SourceFile] {
    if let provenance = model.reader.provenance { return provenance.sources }
    return model.reader.files.map {
      SourceFile(name: $0.path.name, byteCount: $0.byteCount, checksum: .init())
    }
  }

  /// The metadata of the model, changed where weights are encoded anew.
  private static func metadata(of model: Model, _ tensors: [TensorPlan]) -> Metadata {
    let isChanged = tensors.contains {
      switch $0.action {
      case .quantize, .decode: true
      case .copy, .respell: false
      }
    }
    return isChanged
      ? GGUFFileType.updated(model.catalog.metadata, for: tensors.map(\.target))
      : model.catalog.metadata
  }

  /// What the format has no place for.
  private static func losses(
    of model: Model, in layout: any OutputLayout, _ format: Format
  ) -> [String] {
    var notes: [String] = []
    if !layout.holdsCompanions && !model.catalog.companions.isEmpty {
      let names = model.catalog.companions.map(\.name).joined(separator: ", ")
      notes.append("\(layout.fileNames.first ?? format.name) has no place for \(names)")
    }
    if format == .safetensors {
      let count = model.catalog.metadata.entries.count { $0.value.text == nil }
      if count > 0 {
        notes.append("safetensors has no place for \(count) metadata entries that are not text")
      }
    }
    return notes
  }
}
