public import Bytes
internal import Formats
internal import Kernels
public import TensorModel
internal import Weights

extension Inspection {
  /// The inspection as JSON, as described in `formats/report.md`.
  ///
  /// - Parameters:
  ///   - tensors: The indices of the tensors to list, in order; nil to list none.
  ///   - statistics: The statistics of tensors, by index.
  ///   - showsMetadata: Whether all metadata entries are listed.
  ///   - check: What reading the data found; nil if it was not read.
  /// - Returns: An object with the schema `pleat.inspect.1`.
  public func json(
    tensors: [Int]?, statistics: [Int: TensorStatistics], showsMetadata: Bool,
    check: DataCheck? = nil
  ) -> JSONValue {
    var members: [JSONValue.Member] = [
      .init("schema", "pleat.inspect.1"),
      .init("path", .string(model.path)),
      .init("format", .string(model.format.name)),
      .init("kind", .string(model.kind.rawValue)),
      .init("architecture", architecture.map { .string($0) } ?? .null),
      .init("mix", mixName.map { .string($0) } ?? .null),
      .init("fileCount", JSONValue(model.fileCount)),
      .init("byteCount", JSONValue(model.byteCount)),
      .init("weightCount", JSONValue(model.catalog.elementCount)),
      .init("bitsPerWeight", .number(bitsPerWeight)),
      .init("encodings", .array(encodings.map(json))),
      .init("metadataCount", JSONValue(model.catalog.metadata.entries.count)),
      .init(
        "companions",
        .array(
          model.catalog.companions.map {
            ["name": .string($0.name), "byteCount": JSONValue($0.byteCount)]
          })),
    ]
    if !adapters.isEmpty { members.append(.init("adapters", .array(adapters.map(\.json)))) }
    if let fault = model.packedFault { members.append(.init("packedFault", fault.json)) }
    if let adapterFault { members.append(.init("adapterFault", adapterFault.json)) }
    members.append(.init("tensorCount", JSONValue(model.catalog.tensors.count)))
    members.append(.init("valid", .bool(isValid(check))))
    if let check { members.append(.init("check", check.json)) }
    if let provenance = model.reader.provenance {
      members.append(
        .init(
          "sources",
          .array(
            provenance.sources.map {
              [
                "name": .string($0.name), "byteCount": JSONValue($0.byteCount),
                "crc32c": .string($0.checksum.text),
              ]
            })))
      members.append(.init("history", .array(provenance.history)))
    }
    if showsMetadata {
      members.append(
        .init(
          "metadata",
          .array(
            model.catalog.metadata.entries.map {
              ["key": .string($0.key), "type": .string("\($0.value.type)"), "value": $0.value.json]
            })))
    }
    if let tensors {
      members.append(.init("tensors", .array(tensors.map { json($0, statistics[$0]) })))
    }
    return .object(members)
  }

  private func json(_ index: Int, _ statistics: TensorStatistics?) -> JSONValue {
    let tensor = model.catalog.tensors[index]
    var members: [JSONValue.Member] = [
      .init("name", .string(tensor.name)), .init("shape", tensor.shape.json),
    ]
    if model.format.usesGGUFNames {
      members.append(
        .init("storedShape", .array(tensor.shape.dimensions.reversed().map { JSONValue($0) })))
    }
    members.append(.init("encoding", json(tensor.encoding)))
    members.append(.init("byteCount", JSONValue(model.storedByteCount(of: index))))
    if let statistics { members.append(.init("statistics", statistics.json)) }
    return .object(members)
  }

  /// A line for each source file and each entry of the history; empty without provenance.
  public var provenanceLines: [String] {
    guard let provenance = model.reader.provenance else { return [] }
    return provenance.sources.map {
      "\($0.name), \($0.byteCount) bytes, crc32c \($0.checksum.text)"
    }
      + provenance.history.map(Self.line)
  }

  /// An entry of the history as text: its action, then its other members.
  private static func line(_ entry: JSONValue) -> String {
    func text(_ value: JSONValue) -> String {
      if let list = value.array { return list.map(text).joined(separator: "; ") }
      guard let members = value.members else { return value.string ?? JSONWriter.text(value) }
      return members.filter { $0.key != "action" }.map { member in
        member.value.members == nil ? "\(member.key) \(text(member.value))" : text(member.value)
      }.joined(separator: ", ")
    }
    return "\(entry["action"]?.string ?? "changed"): \(text(entry))"
  }
}

extension Inspection {
  private func json(_ summary: EncodingSummary) -> JSONValue {
    [
      "encoding": json(summary.encoding), "tensorCount": JSONValue(summary.tensorCount),
      "weightCount": JSONValue(summary.elementCount), "byteCount": JSONValue(summary.byteCount),
    ]
  }

  /// An encoding, with the name that the format's own tools have for it.
  private func json(_ encoding: Encoding) -> JSONValue {
    guard let name = typeName(of: encoding) else { return encoding.json }
    return .object((encoding.json.members ?? []) + [.init("name", .string(name))])
  }

  /// Whether the file is valid, as far as it was read, and the adapters in it can be used.
  public func isValid(_ check: DataCheck?) -> Bool {
    adapterFault == nil && check?.holds ?? true
  }
}

extension DataCheck {
  fileprivate var json: JSONValue {
    [
      "checksumCount": JSONValue(checksumCount), "faults": .array(faults.map(\.json)),
      "tensorCount": JSONValue(tensorCount), "weightCount": JSONValue(elementCount),
      "nonFinite": .array(
        nonFinite.map {
          [
            "name": .string($0.name), "nanCount": JSONValue($0.nanCount),
            "infinityCount": JSONValue($0.infinityCount), "row": JSONValue($0.row),
            "column": JSONValue($0.column),
          ]
        }),
      "undecoded": .array(undecoded.map { .string($0) }),
    ]
  }
}

extension AdapterSummary {
  fileprivate var json: JSONValue {
    [
      "name": .string(name), "kind": .string(kind.rawValue), "method": .string(method),
      "ranks": .array(ranks.map { JSONValue($0) }), "scales": .array(scales.map { .number($0) }),
      "groupSize": groupSize.map { JSONValue($0) } ?? .null,
      "pooling": pooling.map { .string($0.rawValue) } ?? .null,
      "targets": .array(targets.map { .string($0) }), "productCount": JSONValue(productCount),
      "vectorCount": JSONValue(vectorCount), "replacementCount": JSONValue(replacementCount),
    ]
  }
}

extension TensorStatistics {
  fileprivate var json: JSONValue {
    [
      "minimum": .number(Double(minimum)), "maximum": .number(Double(maximum)),
      "mean": .number(mean), "standardDeviation": .number(standardDeviation),
      "nanCount": JSONValue(nanCount), "infinityCount": JSONValue(infinityCount),
      "histogram": .array(histogram.map { JSONValue($0) }),
    ]
  }
}

extension MetadataValue {
  /// The value as JSON; for an array, its element type and its length only.
  var json: JSONValue {
    switch self {
    case .unsigned(let value, _): Int64(exactly: value).map { .integer($0) } ?? .string("\(value)")
    case .signed(let value, _): .integer(value)
    case .float(let value): .number(Double(value))
    case .double(let value): .number(value)
    case .bool(let value): .bool(value)
    case .string: .string(text ?? "")
    case .array(let array):
      ["elementType": .string("\(array.elementType)"), "count": JSONValue(array.count)]
    }
  }

  /// The value as text; for an array, its length and its element type only.
  public var summary: String {
    if case .array(let array) = self { return "\(array.count) × \(array.elementType)" }
    return text ?? JSONWriter.text(json)
  }
}
