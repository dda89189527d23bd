internal import Bytes
internal import Kernels
internal import TensorModel

extension PackedHeader {
  /// The JSON text.
  ///
  /// Its length does not depend on checksums, and for raw parts on nothing but shapes.
  var text: [UInt8] {
    var json = JSONWriter()
    json.write(literal: "{\"requires\":")
    json.write(.array(required.map { .string($0.rawValue) }))
    json.write(literal: ",\"writer\":")
    json.write(string: writer)
    json.write(literal: ",\"companions\":[")
    for (index, companion) in companions.enumerated() {
      if index > 0 { json.write(literal: ",") }
      json.write(.object([.init("name", .string(companion.name))] + members(companion.part)))
    }
    json.write(literal: "],\"metadata\":")
    json.write(
      .object([.init("count", JSONValue(metadata.count))] + members(metadata.part)))
    json.write(literal: ",\"tensors\":[")
    for (index, tensor) in tensors.enumerated() {
      json.write(literal: index > 0 ? ",\n" : "\n")
      json.write(value(tensor))
    }
    json.write(literal: "],\n\"adapters\":[")
    for (index, adapter) in adapters.enumerated() {
      json.write(literal: index > 0 ? ",\n" : "\n")
      json.write(value(adapter))
    }
    json.write(literal: "],\"provenance\":")
    json.write(provenanceValue)
    json.write(literal: "}\n")
    return json.bytes
  }

  private func members(_ part: Part) -> [JSONValue.Member] {
    var members = [JSONValue.Member("length", JSONValue(part.byteCount))]
    if let frames = part.frames {
      members.append(.init("block", JSONValue(frames.blockByteCount)))
      members.append(.init("planes", JSONValue(frames.planeCount)))
      members.append(.init("frames", .array(frames.table.map { JSONValue($0) })))
    } else {
      members.insert(.init("offset", JSONValue(part.offset)), at: 0)
    }
    return members + [.init("crc32c", .string(part.checksum.text))]
  }

  private func value(_ tensor: Tensor) -> JSONValue {
    .object([
      .init("name", .string(tensor.info.name)),
      .init("shape", .array(tensor.info.shape.dimensions.map { JSONValue($0) })),
      .init("encoding", Self.value(tensor.info.encoding)),
      .init(
        "parts",
        .object(
          zip(tensor.roles, tensor.parts).map { .init($0.rawValue, .object(members($1))) })),
    ])
  }

  private func value(_ adapter: Adapter) -> JSONValue {
    var members: [JSONValue.Member] = [
      .init("name", .string(adapter.name)), .init("kind", .string(adapter.kind)),
      .init("config", adapter.config), .init("crc32c", .string(adapter.checksum)),
      .init("tensors", .array(adapter.tensors.map(value))),
    ]
    if let pooling = adapter.pooling { members.insert(.init("pooling", .string(pooling)), at: 3) }
    return .object(members)
  }

  private static func value(_ encoding: Encoding) -> JSONValue {
    switch encoding {
    case .plain(let type): ["type": .string(type.name)]
    case .grouped(let grouping):
      [
        "bits": JSONValue(grouping.bits), "groupSize": JSONValue(grouping.groupSize),
        "offset": .string(grouping.offset.rawValue),
        "parameters": .string(grouping.parameters.name),
      ]
    case .foreign(let layout): ["ggml": .string(layout.name)]
    }
  }

  private var provenanceValue: JSONValue {
    [
      "sources": .array(
        provenance.sources.map {
          [
            "name": .string($0.name), "length": JSONValue($0.byteCount),
            "crc32c": .string($0.checksum.text),
          ]
        }),
      "history": .array(provenance.history),
    ]
  }
}

extension PackedHeader {
  /// Reads and checks the JSON text found at `offset` of a file.
  ///
  /// Throws `malformed`, `unsupported` for features that this version does not know, and `limit`.
  init(
    _ text: [UInt8], file: String, offset: Int, limits: ReadLimits
  ) throws(ModelError) {
    var scanner = try JSONScanner(text, file: file, offset: offset, limits: limits)
    var reading = PackedHeaderReading(file: file, limits: limits)
    try scanner.object { (scanner, key) throws(ModelError) in
      try reading.member(key, &scanner)
    }
    try scanner.end()
    writer = reading.writer
    companions = reading.companions
    metadata = reading.metadata
    tensors = reading.tensors
    adapters = reading.adapters
    provenance = reading.provenance
  }
}
