"""Reads a whole topic as an ordinary consumer would, and prints each event as a JSON object."""

import json
import sys

from cloudevents.kafka import KafkaMessage, from_binary
from confluent_kafka import Consumer, TopicPartition

ASK_SECONDS = 30


def read(consumer, topic, partition):
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), ASK_SECONDS)
    if low == high:
        return
    consumer.assign([TopicPartition(topic, partition, low)])
    while True:
        record = consumer.poll(ASK_SECONDS)
        if record is None:
            raise SystemExit(f"partition {partition} fell silent")
        if record.error():
            raise SystemExit(str(record.error()))
        yield record
        if record.offset() + 1 >= high:
            return


def main(brokers, topic):
    settings = {"bootstrap.servers": brokers, "group.id": "python", "enable.auto.commit": False}
    consumer = Consumer(settings)
    partitions = consumer.list_topics(topic, ASK_SECONDS).topics[topic].partitions
    for partition in sorted(partitions):
        for record in read(consumer, topic, partition):
            headers = dict(record.headers())
            message = KafkaMessage(headers=headers, key=record.key(), value=record.value())
            event = from_binary(message, data_unmarshaller=json.loads)
            told = {name: str(value) for name, value in event.get_attributes().items()}
            told.update(data=event.data, key=record.key().decode(), kafka_partition=partition)
            print(json.dumps(told))
    consumer.close()


main(*sys.argv[1:])
