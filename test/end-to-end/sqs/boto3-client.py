"""Debian's boto3, which speaks the Query form. `tour ENDPOINT` uses every action that it has, `drain ENDPOINTS QUEUE COUNT`
receives and deletes at one endpoint after the other. What was seen is printed as JSON."""
import json
import sys
import time
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

REGION = 'eu-west-1'


def client(endpoint):
    return boto3.client(
        'sqs', endpoint_url=endpoint, region_name=REGION, aws_access_key_id='test',
        aws_secret_access_key='test',
        config=Config(retries={'total_max_attempts': 1}, connect_timeout=2, read_timeout=30))


def refused(call):
    try:
        call()
    except ClientError as error:
        return [type(error).__name__, error.response['Error']['Code'],
                error.response['ResponseMetadata']['HTTPStatusCode']]
    return None


def tour(endpoint):
    sqs = client(endpoint)
    seen = {}
    dead = sqs.create_queue(QueueName='boto-dead')['QueueUrl']
    dead_arn = sqs.get_queue_attributes(
        QueueUrl=dead, AttributeNames=['QueueArn'])['Attributes']['QueueArn']
    url = sqs.create_queue(
        QueueName='boto', tags={'team': 'a b/c'},
        Attributes={'VisibilityTimeout': '60', 'RedrivePolicy': json.dumps(
            {'deadLetterTargetArn': dead_arn, 'maxReceiveCount': 5})})['QueueUrl']
    seen['same url'] = sqs.get_queue_url(QueueName='boto')['QueueUrl'] == url
    seen['listed'] = sqs.list_queues(QueueNamePrefix='boto')['QueueUrls'] == [url, dead]
    seen['sources'] = sqs.list_dead_letter_source_queues(QueueUrl=dead)['queueUrls'] == [url]
    attributes = {
        'text': {'DataType': 'String', 'StringValue': 'ü & <x>\r\n'},
        'number': {'DataType': 'Number.int', 'StringValue': '42'},
        'raw': {'DataType': 'Binary', 'BinaryValue': bytes(range(256))}}
    sent = sqs.send_message(QueueUrl=url, MessageBody='one & "two" <three>\r\n\tü😀',
                            MessageAttributes=attributes)
    [message] = sqs.receive_message(QueueUrl=url, AttributeNames=['All'],
                                    MessageAttributeNames=['All'])['Messages']
    seen['message'] = [message['MessageId'] == sent['MessageId'], message['Body'],
                       message['MessageAttributes'] == attributes,
                       message['MD5OfMessageAttributes'] == sent['MD5OfMessageAttributes'],
                       message['Attributes']['ApproximateReceiveCount']]
    handle = message['ReceiptHandle']
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    [again] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)['Messages']
    seen['again'] = again['MessageId'] == message['MessageId']
    sqs.delete_message(QueueUrl=url, ReceiptHandle=again['ReceiptHandle'])
    batch = sqs.send_message_batch(QueueUrl=url, Entries=[
        {'Id': 'a', 'MessageBody': 'A'}, {'Id': 'b', 'MessageBody': 'B', 'DelaySeconds': 0},
        {'Id': 'c', 'MessageBody': '\x01'}])
    seen['batch'] = [[one['Id'] for one in batch['Successful']],
                     [[one['Id'], one['Code'], one['SenderFault']] for one in batch['Failed']]]
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)['Messages']
    entries = [{'Id': str(at), 'ReceiptHandle': one['ReceiptHandle']} for at, one in enumerate(got)]
    changed = sqs.change_message_visibility_batch(
        QueueUrl=url, Entries=[dict(entry, VisibilityTimeout=30) for entry in entries])
    seen['changed'] = len(changed['Successful'])
    seen['deleted'] = len(sqs.delete_message_batch(QueueUrl=url, Entries=entries)['Successful'])
    sqs.set_queue_attributes(QueueUrl=url, Attributes={'DelaySeconds': '1'})
    seen['set'] = sqs.get_queue_attributes(
        QueueUrl=url, AttributeNames=['All'])['Attributes']['DelaySeconds']
    sqs.tag_queue(QueueUrl=url, Tags={'more': 'x'})
    sqs.untag_queue(QueueUrl=url, TagKeys=['team'])
    seen['tags'] = sqs.list_queue_tags(QueueUrl=url)['Tags']
    sqs.add_permission(QueueUrl=url, Label='l', AWSAccountIds=['111111111111'],
                       Actions=['SendMessage'])
    sqs.remove_permission(QueueUrl=url, Label='l')
    sqs.purge_queue(QueueUrl=url)
    seen['purge again'] = refused(lambda: sqs.purge_queue(QueueUrl=url))
    seen['no queue'] = refused(lambda: sqs.get_queue_url(QueueName='none'))
    seen['bad receipt'] = refused(lambda: sqs.delete_message(QueueUrl=url, ReceiptHandle='x'))
    seen['bad value'] = refused(lambda: sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=11))
    presigned = sqs.generate_presigned_url('send_message', HttpMethod='GET', Params={
        'QueueUrl': dead, 'MessageBody': 'presigned & sent'})
    seen['presigned'] = urllib.request.urlopen(presigned).status
    [found] = sqs.receive_message(QueueUrl=dead)['Messages']
    seen['found'] = found['Body']
    sqs.delete_queue(QueueUrl=url)
    seen['gone'] = refused(lambda: sqs.send_message(QueueUrl=url, MessageBody='x'))
    return seen


def drain(endpoints, queue, count):
    """Distinct bodies in the order in which they were received for the first time."""
    seen = []
    known = set()
    turn = 0
    until = time.time() + 60
    while len(known) < count and time.time() < until:
        endpoint = endpoints[turn % len(endpoints)]
        turn += 1
        try:
            sqs = client(endpoint)
            url = '%s/000000000000/%s' % (endpoint, queue)
            got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in got.get('Messages', []):
                if message['Body'] not in known:
                    known.add(message['Body'])
                    seen.append(message['Body'])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message['ReceiptHandle'])
        except (BotoCoreError, ClientError) as error:
            print(error, file=sys.stderr)
    return seen


if sys.argv[1] == 'tour':
    print(json.dumps(tour(sys.argv[2])))
else:
    print(json.dumps(drain(sys.argv[2].split(','), sys.argv[3], int(sys.argv[4]))))
