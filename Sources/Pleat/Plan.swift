package import Adapters
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
  /// Adapters are added to plain numbers, which are rounded once to the type.
  case merge(ScalarType)
  /// Adapters move the offsets of groups; codes stay, in a wider container times a factor.
  case shift(Grouping)
  /// An adapter's tensor takes its place, as plain numbers of the type.
  case replace(ScalarType)
  /// It is left out, since the target computes it itself or has no place for it.
  case omit
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
  /// What becomes of it where names and order are those of llama.cpp; nil where they stay.
  package var placement: GGUFTranslation.Tensor?
  /// Whether a rule keeps it, whatever it holds.
  var isKeptByRule = false
  /// Why it is kept though it was to be quantized: the format has no place for its shape.
  var misfit: String?
  /// What adapters do to it, in the order in which they do.
  package var changes: [PairedChange] = []
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
  /// The adapters that are folded in.
  public let adapters: [AdapterUse]
  /// The length of all files to be written; an upper bound unless `isExact`.
  public let byteCount: Int
  /// Whether `byteCount` is exact.
  public let isExact: Bool
  /// The files to be written, relative to the folder they will be in.
  public let fileNames: [String]

  private let tensorByteCount: Int  // of the output's weights, before compression
  package let layout: any OutputLayout
  package let attachments: [Attachment]
  package let attachedParts: [Range<Int>]  // for each attachment its stored tensors
  package let companions: [CompanionPlan]
  package let additions: [(stored: Int, bytes: [UInt8])]  // what the target has in addition
  package let firstParts: [Int]  // for each tensor the index of its first stored tensor
  package let stackOffsets: [Int]  // for each tensor where it begins in that, in bytes
  package let blocks: [Cut]  // for each tensor how it is cut
  package let carried: [[StoredPlace?]]  // for each part where it is copied from unread, if it is

  /// The number of weights in all tensors.
  public var elementCount: Int { model.catalog.elementCount }

  /// Bits for each weight of the output, all tensors together.
  public var bitsPerWeight: Double {
    elementCount == 0 ? 0 : Double(tensorByteCount) * 8 / Double(elementCount)
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
    history: JSONValue, rounding: Bool = false, adapters: [AdapterUse] = [],
    attachments: [Attachment]? = nil
  ) throws(ModelError) {
    try destination.check()
    let format = destination.format
    // What is folded in is carried no longer.
    let attachments =
      attachments
      ?? model.attachments.filter { carried in
        !adapters.contains {
          $0.file.isAttached && $0.file.model.path == model.path
            && $0.file.name == carried.adapter.name
        }
      }
    try Self.check(attachments, format)
    var stored: [StoredTensor] = []
    var mostParts = 0
    var tensorByteCount = 0
    var firstParts: [Int] = []
    var blocks: [Cut] = []
    var recentCuts: [Cut] = []
    var nothingCarried: [Int: [StoredPlace?]] = [:]
    var carried: [[StoredPlace?]] = []
    var stackOffsets: [Int] = []
    var stacks: [ExactName: Int] = [:]
    var tensors = tensors
    let translation = try model.translation(for: destination)
    for (index, plan) in tensors.enumerated() {
      guard let translation else { break }
      tensors[index] = try plan.translated(translation.tensors[index])
    }
    for (index, plan) in tensors.enumerated() {
      if plan.action != .omit {
        try Self.check(format.admits(plan.target), plan, rounding: rounding)
      }
      var parts = plan.action == .omit ? [] : format.spelling.parts(of: plan.target)
      tensorByteCount += parts.reduce(0) { $0 + $1.byteCount }
      let source = model.parts(of: index)
      // What is carried over is copied only where both sides spell it alike.
      if plan.action == .copy, plan.source.isGrouped,
        model.format != format || source.map(\.encoding) != parts.map(\.encoding)
          || source.map(\.rows) != parts.map(\.rows)
      {
        tensors[index].action = .respell
      }
      let plan = tensors[index]
      var cut = Cut(plan, source: source, target: parts)
      // Layers repeat: tensors that are cut alike share the memory of what says so.
      if let known = recentCuts.first(where: { $0 == cut }) {
        cut = known
      } else {
        recentCuts = [cut] + recentCuts.prefix(Self.recentCutCount - 1)
      }
      let carry =
        Self.carried(plan, index, model, destination, parts.count)
        ?? nothingCarried[parts.count]
        ?? Array(repeating: nil, count: parts.count)
      if carry.allSatisfy({ $0 == nil }) { nothingCarried[parts.count] = carry }
      for part in parts.indices {
        parts[part].blockByteCount = max(
          1, cut.target[part].byteCount(of: 0..<cut.unitsPerBlock))
        parts[part].checksum = carry[part]?.checksum
      }
      carried.append(carry)
      blocks.append(cut)
      stackOffsets.append((plan.placement?.stack?.index ?? 0) * (parts.first?.byteCount ?? 0))
      if plan.placement?.stack != nil {
        // All matrices of a stack are parts of one stored tensor, which the first one brings.
        let name = ExactName(plan.target.name)
        firstParts.append(stacks[name] ?? stored.count)
        guard stacks[name] == nil else { continue }
        stacks[name] = stored.count
        parts = format.spelling.parts(of: plan.storedTarget)
      } else {
        firstParts.append(stored.count)
      }
      if parts.count > mostParts {
        mostParts = parts.count
        stored.reserveCapacity(tensors.count * mostParts)
      }
      stored += parts
    }
    let firstAddition = stored.count
    stored += translation?.additions.map(\.stored) ?? []
    let history = model.history + [history]
    var attached: [AttachedAdapter] = []
    for attachment in attachments {
      var adapter = attachment.adapter
      adapter.stored = stored.count..<stored.count + attachment.stored.count
      attached.append(adapter)
      stored += attachment.tensors
    }
    let companions = try CompanionPlan.plans(for: model, tensors.map(\.target), format)
    var contents = Contents(
      stored: stored,
      metadata: Self.metadata(of: model, translation, tensors, format, history),
      companions: companions.map(\.companion),
      provenance: Provenance(sources: Self.expectedSources(model), history: history))
    contents.attached = attached
    let options = WriteOptions(
      path: FilePath(destination.path), shardByteCount: destination.shardByteCount,
      compresses: destination.compresses)
    do throws(ModelError) {
      layout = try format.container.layout(contents, options)
    } catch {
      throw error.located(file: model.path)
    }
    try destination.check(
      layout, against: [model] + (adapters.map(\.file.model) + attachments.map(\.model)))
    self.tensorByteCount = tensorByteCount
    self.model = model
    self.format = format
    self.tensors = tensors
    self.adapters = adapters
    self.attachments = attachments
    attachedParts = attached.map(\.stored)
    self.companions = layout.holdsCompanions ? companions : []
    additions = (translation?.additions ?? []).enumerated().map {
      (firstAddition + $0.offset, $0.element.bytes)
    }
    self.firstParts = firstParts
    self.stackOffsets = stackOffsets
    self.carried = carried
    self.blocks = blocks
    self.notes =
      model.format.spelling.notes + (translation?.notes ?? []) + notes
      + (translation == nil ? Self.losses(of: model, in: layout, format) : [])
    byteCount = layout.byteCount
    isExact = layout.isExact
    fileNames = layout.fileNames
  }

  /// As many as there are kinds of tensors in a layer, or more.
  private static let recentCutCount = 16

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

  /// For each part of a target where the source has the very bytes, so that nobody needs to see them; nil
  /// where there is none.
  private static func carried(
    _ plan: TensorPlan, _ tensor: Int, _ model: Model, _ destination: Destination, _ count: Int
  ) -> [StoredPlace?]? {
    guard plan.placement?.rowOrder == nil else { return nil }
    let changed: Int?
    switch plan.action {
    case .copy: changed = nil
    case .shift:
      guard let field = plan.biasField(from: model.format, to: destination.format), field.isAlone
      else { return nil }
      changed = field.field.part
    default: return nil
    }
    let parts = model.gathered[tensor].parts
    guard !destination.compresses, parts.count == count else { return nil }
    return zip(parts, model.parts(of: tensor)).enumerated().map { part, piece in
      let (stored, tensor) = piece
      guard part != changed, tensor.rows.isContiguous,
        let place = model.reader.place(of: stored)
      else { return nil }
      // Checksums that a pleat file states stay true in another one. Elsewhere the bytes have to be
      // seen: to state some, or to compare them.
      return (destination.format == .pleat) == (place.checksum != nil) ? place : nil
    }
  }

  private static func check(_ attachments: [Attachment], _ format: Format) throws(ModelError) {
    guard format != .pleat, !attachments.isEmpty else { return }
    throw ModelError(
      .unsupported, "\(format.name) has no place for the adapters that the model carries",
      found: attachments.map(\.adapter.name).joined(separator: ", "),
      hint: "pleat fold folds them in; pleat convert --drop-adapters leaves them out")
  }

  /// Sources with checksums that will be known after they were read; they take the same space.
  private static func expectedSources(_ model: Model) -> [SourceFile] {
    if let provenance = model.reader.provenance { return provenance.sources }
    return model.reader.files.map {
      SourceFile(name: $0.path.name, byteCount: $0.byteCount, checksum: .init())
    }
  }

  /// The metadata of the model, changed where weights are encoded anew.
  private static func metadata(
    of model: Model, _ translation: GGUFTranslation?, _ tensors: [TensorPlan], _ format: Format,
    _ history: [JSONValue]
  ) -> Metadata {
    let tensors = tensors.lazy.filter { $0.action != .omit }
    let isChanged = tensors.contains {
      switch $0.action {
      case .quantize, .decode, .shift: true
      case .copy, .respell, .merge, .replace, .omit: false
      }
    }
    var metadata = translation?.metadata ?? model.catalog.metadata
    if isChanged || translation != nil {
      metadata = GGUFFileType.updated(metadata, for: Array(tensors.map(\.target)))
    }
    if metadata["format"]?.text == "mlx" { metadata["format"] = nil }
    if format == .mlx { metadata["format"] = .text("mlx") }
    // A second fold of the same adapter should be noticed in files without provenance too.
    let folds = history.filter { $0["adapters"] != nil }
    metadata[Provenance.historyKey] =
      folds.isEmpty || format == .pleat ? nil : .text(JSONWriter.text(.array(folds)))
    return metadata
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
    if format == .safetensors || format.needsConfig {
      let count = model.catalog.metadata.entries.count { $0.value.text == nil }
      if count > 0 {
        notes.append("\(format.name) has no place for \(count) metadata entries that are not text")
      }
    }
    return notes
  }
}
