internal import Bytes
internal import Kernels
internal import TensorModel

/// Writes the header of a pleat file as JSON text.
///
/// The length of the text does not depend on the values of checksums. Without compression it does
/// not depend on the numbers of tensors either.
struct PleatFileHeaderText {
  typealias Part = PleatFileHeader.Part

  /// The name and version of the program in the header; it does not identify a run.
  private static let writer = "pleat \(PleatVersion.text)"

  private let layout: PleatFileLayout
  private let written: ((Int) -> Part)?
  private let sources: [SourceFile]

  /// Creates the text for parts that were written from source files.
  ///
  /// `written` gives a part as it was written; nil for parts as planned.
  init(_ layout: PleatFileLayout, sources: [SourceFile], written: ((Int) -> Part)? = nil) {
    self.layout = layout
    self.written = written
    self.sources = sources
  }

  /// The length of the text in bytes.
  var byteCount: Int {
    var json = JSONWriter(countingOnly: true)
    write(to: &json) { _ in }
    return json.byteCount
  }

  /// Writes the text and passes it to `body`, tensor by tensor.
  func write<Failure: Error>(_ body: ([UInt8]) throws(Failure) -> Void) throws(Failure) {
    var json = JSONWriter()
    try write(to: &json, body)
  }

  private func write<Failure: Error>(
    to json: inout JSONWriter, _ body: ([UInt8]) throws(Failure) -> Void
  ) throws(Failure) {
    let contents = layout.contents
    json.write(literal: "{\"requires\":")
    json.write(.array(required.map { .string($0.rawValue) }))
    json.write(literal: ",\"writer\":")
    json.write(string: Self.writer)
    json.write(literal: ",\"companions\":[")
    for (index, companion) in contents.companions.enumerated() {
      if index > 0 { json.write(literal: ",") }
      let part = part(layout.firstCompanion + index)
      json.write(literal: "{\"name\":")
      json.write(string: companion.name)
      json.write(literal: ",")
      write(part, to: &json)
      json.write(literal: "}")
    }
    json.write(literal: "],\"metadata\":{\"count\":\(contents.metadata.entries.count),")
    write(part(layout.metadataIndex), to: &json)
    json.write(literal: "},\"tensors\":[")
    try forEachTensor(0..<contents.modelStoredCount) { (tensor, isFirst) throws(Failure) in
      json.write(literal: isFirst ? "\n" : ",\n")
      write(tensor, to: &json)
      try json.take(body)
    }
    json.write(literal: "],\n\"adapters\":[")
    for (index, adapter) in contents.attached.enumerated() {
      json.write(literal: index > 0 ? ",\n" : "\n")
      write(adapter, to: &json)
    }
    json.write(literal: "],\"provenance\":")
    json.write(provenance)
    json.write(literal: "}\n")
    try json.take(body)
  }

  private func part(_ index: Int) -> Part { written?(index) ?? layout.part(index) }

  /// The features that a reader must support.
  private var required: [PleatFileHeader.Feature] {
    PleatFileHeader.Feature.allCases.filter { feature in
      switch feature {
      case .zstd:
        layout.options.compresses && layout.offsets.indices.contains { part($0).frames != nil }
      case .ggmlBlocks:
        layout.contents.stored.contains { $0.tensorForm.isForeign }
      case .scaledCodes:
        layout.contents.stored.contains { $0.tensorForm.isScaled }
      case .companionFolders:
        layout.contents.companions.contains { CompanionName.folder(of: $0.name) != nil }
      }
    }
  }

  /// Calls `body` with the range of each tensor: adjacent stored tensors of the same name.
  private func forEachTensor<Failure: Error>(
    _ range: Range<Int>, _ body: (Range<Int>, Bool) throws(Failure) -> Void
  ) throws(Failure) {
    let stored = layout.contents.stored
    var start = range.lowerBound
    while start < range.upperBound {
      let name = stored[start].name
      var end = start + 1
      while end < range.upperBound, stored[end].name.hasSameBytes(as: name) { end += 1 }
      try body(start..<end, start == range.lowerBound)
      start = end
    }
  }

  /// Writes the members that describe a part, without braces.
  private func write(_ part: Part, to json: inout JSONWriter) {
    if let frames = part.frames {
      json.write(literal: "\"length\":")
      json.write(count: part.byteCount)
      json.write(literal: ",\"block\":")
      json.write(count: frames.blockByteCount)
      json.write(literal: ",\"planes\":")
      json.write(count: frames.planeCount)
      json.write(literal: ",\"frames\":[")
      for (index, number) in frames.table.enumerated() {
        if index > 0 { json.write(literal: ",") }
        json.write(count: number)
      }
      json.write(literal: "]")
    } else {
      json.write(literal: "\"offset\":")
      json.write(count: part.offset)
      json.write(literal: ",\"length\":")
      json.write(count: part.byteCount)
    }
    json.write(literal: ",\"crc32c\":")
    json.write(string: part.checksum.text)
  }

  /// Writes the tensor that a range of stored tensors makes up.
  private func write(_ range: Range<Int>, to json: inout JSONWriter) {
    let first = layout.contents.stored[range.lowerBound]
    json.write(literal: "{\"name\":")
    json.write(string: first.name)
    json.write(literal: ",\"shape\":")
    json.write(counts: first.shape.dimensions)
    json.write(literal: ",\"encoding\":")
    write(first.encoding, to: &json)
    json.write(literal: ",\"parts\":{")
    for index in range {
      if index > range.lowerBound { json.write(literal: ",") }
      json.write(string: layout.contents.stored[index].role.rawValue)
      json.write(literal: ":{")
      write(part(layout.firstStored + index), to: &json)
      json.write(literal: "}")
    }
    json.write(literal: "}}")
  }

  private func write(_ adapter: AttachedAdapter, to json: inout JSONWriter) {
    var members: [JSONValue.Member] = [
      .init("name", .string(adapter.name)), .init("kind", .string(adapter.kind)),
      .init("config", adapter.config), .init("crc32c", .string(adapter.checksum)),
    ]
    if let pooling = adapter.pooling { members.insert(.init("pooling", .string(pooling)), at: 3) }
    json.write(literal: "{")
    for member in members {
      json.write(string: member.key)
      json.write(literal: ":")
      json.write(member.value)
      json.write(literal: ",")
    }
    json.write(literal: "\"tensors\":[")
    forEachTensor(adapter.stored) { tensor, isFirst in
      if !isFirst { json.write(literal: ",") }
      write(tensor, to: &json)
    }
    json.write(literal: "]}")
  }

  private func write(_ encoding: Encoding, to json: inout JSONWriter) {
    switch encoding {
    case .plain(let type):
      json.write(literal: "{\"type\":")
      json.write(string: type.name)
    case .grouped(let grouping):
      json.write(literal: "{\"bits\":")
      json.write(count: grouping.bits)
      json.write(literal: ",\"groupSize\":")
      json.write(count: grouping.groupSize)
      json.write(literal: ",\"offset\":")
      json.write(string: grouping.offset.rawValue)
      json.write(literal: ",\"parameters\":")
      json.write(string: grouping.parameters.name)
    case .foreign(let layout):
      json.write(literal: "{\"ggml\":")
      json.write(string: layout.name)
    case .scaled(let codes): write(codes, to: &json)
    }
    json.write(literal: "}")
  }

  /// Writes the members that describe codes with scales, without the last brace.
  private func write(_ codes: ScaledCodes, to json: inout JSONWriter) {
    json.write(literal: codes.table == nil ? "{\"codes\":" : "{\"table\":")
    json.write(string: codes.name)
    json.write(literal: ",\"scales\":")
    json.write(string: codes.scales.name)
    for (key, count) in [
      ("tileRows", codes.tileRows), ("tileColumns", codes.tileColumns),
      ("nestedBlock", codes.nesting?.blockSize),
    ] {
      guard let count else { continue }
      json.write(literal: ",\"\(key)\":")
      json.write(count: count)
    }
    if let nesting = codes.nesting {
      json.write(literal: ",\"nestedOffset\":")
      json.write(.number(Double(nesting.offset)))
    }
    if codes.factor != .none {
      json.write(literal: ",\"factor\":")
      json.write(string: codes.factor.rawValue)
    }
    json.write(literal: ",\"decoded\":")
    json.write(string: codes.decoded.name)
  }

  private var provenance: JSONValue {
    [
      "sources": .array(
        sources.map {
          [
            "name": .string($0.name), "length": JSONValue($0.byteCount),
            "crc32c": .string($0.checksum.text),
          ]
        }),
      "history": .array(layout.contents.provenance.history),
    ]
  }
}
